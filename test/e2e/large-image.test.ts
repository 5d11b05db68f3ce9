import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { pack } from 'tar-stream';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openErofs } from '../../src/erofs/filesystem';
import type { ListedEntry } from '../../src/index';
import { openBlob } from '../../src/layer/open-blob';
import { RangeServer } from '../support/range-server';
import { documentOf, runCli } from './run-cli';
import { noise } from './sample';
import type { Encoded } from './workspace';

const chunkSize = 4 << 20;
const fileSize = 128 << 10;
const folders = 80;
const files = 100 * folders;
const small = noise(10_000, 'small');

/** A tar of 1 GB, of which a tenth looks random: chunks differ, and their frames are still small enough for a test to serve. */
async function writeTar(path: string): Promise<void> {
  const random = noise(1 << 20, 'large');
  const archive = pack();
  const written = finished(archive.pipe(createWriteStream(path)));
  const add = (name: string, content: Buffer): Promise<void> =>
    new Promise((resolve, reject) => {
      archive.entry({ name, mtime: new Date(1_700_000_000_000) }, content, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  for (let i = 0; i < files; i++) {
    const content = Buffer.alloc(fileSize);
    const from = (127 * i) % (random.length - fileSize);
    random.copy(content, 0, from, from + fileSize / 10);
    await add(`folder${i % folders}/file${i}`, content);
  }
  await add('folder40/small', small);
  archive.finalize();
  await written;
}

/** Where the first byte of a file lies that is not stored beside its inode. */
async function endOfMetadata(blob: string, descriptor: Encoded): Promise<number> {
  const reader = await openBlob(blob, { descriptor });
  try {
    const image = await openErofs(reader);
    let end = Infinity;
    for await (const { inode } of image.walk()) {
      if (inode.type !== 'file') continue;
      for await (const { address, length } of image.extentsOf(inode)) {
        if (length >= 4096) end = Math.min(end, address);
      }
    }
    return end;
  } finally {
    await reader.close();
  }
}

describe('an image of 1 GB over HTTP', () => {
  let folder: string;
  let descriptor: string;
  let server: RangeServer;
  let frames: { offset: number; size: number }[];
  let metadataFrames: number;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'large-image-'));
    const [tar, blob] = [join(folder, 'large.tar'), join(folder, 'large.blob')];
    await writeTar(tar);
    const encoded = await documentOf<Encoded>(['encode', tar, blob, '--chunk-size', `${chunkSize}`]);
    expect(encoded.uncompressedSize).toBeGreaterThan(1e9);
    descriptor = join(folder, 'large.json');
    await writeFile(descriptor, JSON.stringify(encoded));
    metadataFrames = Math.ceil((await endOfMetadata(blob, encoded)) / chunkSize);
    const { table } = await documentOf<{ table: { entries: typeof frames } }>([
      'inspect',
      blob,
      '--descriptor',
      descriptor,
    ]);
    frames = table.entries;
    server = await RangeServer.start(await readFile(blob));
  });
  afterAll(async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    server.requests.length = 0;
  });

  /** Bytes of frames that were sent. */
  function transferred(): number {
    const { offset, size } = frames.at(-1)!;
    let sum = 0;
    for (const { range } of server.requests) {
      expect(range).not.toBeNull();
      sum += Math.max(0, Math.min(range!.last + 1, offset + size) - range!.first);
    }
    return sum;
  }
  const bytesOf = (some: typeof frames): number => some.reduce((sum, { size }) => sum + size, 0);

  test('cat of one file of 10 KB fetches less than the metadata and two chunks', async () => {
    const run = await runCli(['cat', server.url, '/folder40/small', '--descriptor', descriptor]);
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.stdout).toEqual(small);
    const largest = Math.max(...frames.map(({ size }) => size));
    expect(transferred()).toBeLessThan(bytesOf(frames.slice(0, metadataFrames)) + 2 * largest);
    expect(transferred()).toBeLessThan(server.bytes.length / 50);
  });

  test('ls -R of the whole tree fetches the chunks of the metadata alone', async () => {
    const listed = await documentOf<ListedEntry[]>(['ls', server.url, '-R', '--descriptor', descriptor]);
    expect(listed).toHaveLength(1 + folders + files + 1);
    // One byte more: opening asks for the first one, to see whether the server answers ranges.
    expect(transferred()).toBeLessThanOrEqual(bytesOf(frames.slice(0, metadataFrames)) + 1);
  });
});
