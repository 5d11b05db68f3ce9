import { gzipSync } from 'node:zlib';

import { pack } from 'tar-stream';
import { describe, expect, it } from 'vitest';

import { sniffLayer } from '../../src/layer/sniff';
import { goodBlobs, readGolden } from '../support/golden';
import { MemorySource } from '../support/memory-source';

async function tarOf(name: string, content: string | Buffer): Promise<Buffer> {
  const archive = pack();
  archive.entry({ name }, content);
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

function sniff(bytes: Buffer): Promise<string> {
  return sniffLayer(new MemorySource(bytes));
}

/** A header as programs before ustar wrote it. */
async function oldTar(name: string, signed: boolean): Promise<Buffer> {
  const tar = await tarOf('x', 'y');
  tar.fill(0, 257, 512);
  tar.write(name, 0, 'latin1');
  tar.write('        ', 148, 'latin1');
  const sum = tar
    .subarray(0, 512)
    .reduce((total, byte) => total + (signed && byte > 127 ? byte - 256 : byte), 0);
  tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return tar;
}

describe('sniffing a layer', () => {
  it('tells the blobs and the images of the reference', async () => {
    for (const { blob } of goodBlobs()) expect(await sniff(readGolden(blob))).toBe('zstd');
    for (const name of ['small', 'tiny', 'emptylayer', 'b512']) {
      expect(await sniff(readGolden(`images/${name}.erofs`))).toBe('erofs');
    }
    expect(await sniff(readGolden('images/empty.bin'))).toBe('empty');
    expect(await sniff(readGolden('images/odd5000.bin'))).toBe('unknown');
  });

  it('tells tars', async () => {
    const tar = await tarOf('file', 'content');
    expect(await sniff(tar)).toBe('tar');
    expect(await sniff(gzipSync(tar))).toBe('tar+gzip');
    expect(await sniff(Buffer.alloc(512))).toBe('tar');
    expect(await sniff(Buffer.alloc(10_240))).toBe('tar');
  });

  it('tells tars without a magic by their checksum', async () => {
    expect(await sniff(await oldTar('plain', false))).toBe('tar');
    expect(await sniff(await oldTar('caf\xe9', false))).toBe('tar');
    expect(await sniff(await oldTar('caf\xe9', true))).toBe('tar');
    const broken = await oldTar('plain', false);
    broken.write('q', 0);
    expect(await sniff(broken)).toBe('unknown');
  });

  it('takes a damaged ustar header for a tar, so that the tar reader says what is wrong', async () => {
    const tar = await tarOf('file', 'content');
    tar.write('g', 0);
    expect(await sniff(tar)).toBe('tar');
  });

  it('is not led astray by what a file in a tar contains', async () => {
    const content = Buffer.alloc(1024);
    content.writeUInt32LE(0xe0f5e1e2, 512);
    expect(await sniff(await tarOf('file', content))).toBe('tar');
  });

  it('knows nothing of short or strange bytes', async () => {
    for (const text of ['x', 'xy', 'xyz', '\x1f\x8b', 'x'.repeat(511), 'x'.repeat(4096)]) {
      expect(await sniff(Buffer.from(text, 'latin1'))).toBe('unknown');
    }
    expect(await sniff(Buffer.alloc(511))).toBe('unknown');
  });
});
