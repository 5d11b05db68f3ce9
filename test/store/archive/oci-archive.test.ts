import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { extract } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readManifest } from '../../../src/oci/manifest';
import type { Descriptor } from '../../../src/oci/types';
import { LayoutDestination } from '../../../src/store/layout/layout';
import { OciArchiveDestination, openOciArchiveSource } from '../../../src/store/archive/oci-archive';
import { caught } from '../../support/caught';
import { ociTypes } from '../../oci/samples';
import { describe as describeBytes, layerBytes, writeImage } from '../sample-image';

let folder: string;
let archive: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'oci-archive-'));
  archive = join(folder, 'image.tar');
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

async function write(path: string, reference: string | undefined, seed: string): Promise<Descriptor> {
  const store = await OciArchiveDestination.open(path, { tmpDir: folder });
  const descriptor = await writeImage(store, seed);
  await store.setReference(reference, descriptor);
  await store.close();
  return descriptor;
}

/** Checks that the archive has the image of `seed`, whole. */
async function expectImage(path: string, descriptor: Descriptor, seed: string): Promise<void> {
  const source = await openOciArchiveSource(path, { tmpDir: folder });
  expect(await source.resolve(undefined)).toMatchObject(descriptor);
  const document = await readManifest(source, descriptor);
  if (document.kind !== 'manifest') throw new Error('an index');
  await source.readJson(document.manifest.config);
  const [one, two] = document.manifest.layers as [Descriptor, Descriptor];
  const blob = await source.openBlob(one);
  expect(await blob.read(0, blob.size)).toEqual(layerBytes(`${seed} one`));
  const file = await source.openFile(two);
  const whole = readFileSync(`/proc/self/fd/${file.fd}`);
  expect(whole.subarray(file.offset, file.offset + file.size)).toEqual(layerBytes(`${seed} two`));
  await file.close();
  await blob.close();
  await source.close();
}

async function listHeaders(path: string) {
  const parser = extract();
  parser.end(readFileSync(path));
  const headers = [];
  for await (const entry of parser) {
    headers.push(entry.header);
    entry.resume();
  }
  return headers;
}

describe('an archive that is written', () => {
  it('gives back what was written', async () => {
    await expectImage(archive, await write(archive, 'v1', 'a'), 'a');
  });

  it('has few files open, however many blobs it has', async () => {
    const openFiles = (): number => readdirSync('/proc/self/fd').length;
    const before = openFiles();
    const store = await OciArchiveDestination.open(archive, { tmpDir: folder });
    const seeds = Array.from({ length: 20 }, (_, i) => `image ${i}`);
    const descriptors: Descriptor[] = [];
    for (const seed of seeds) descriptors.push(await writeImage(store, seed));
    expect(openFiles() - before).toBeLessThan(24);
    for (const [i, seed] of seeds.entries())
      await store.setReference(seed.replace(' ', '-'), descriptors[i]!);
    await store.close();
    expect(openFiles()).toBe(before);
    const source = await openOciArchiveSource(archive, { tmpDir: folder });
    for (const [i, seed] of seeds.entries()) {
      const descriptor = await source.resolve(seed.replace(' ', '-'));
      expect(descriptor.digest).toBe(descriptors[i]!.digest);
      const document = await readManifest(source, descriptor);
      if (document.kind !== 'manifest') throw new Error('an index');
      for (const layer of document.manifest.layers) {
        const blob = await source.openBlob(layer);
        expect(describeBytes(layer.mediaType, await blob.read(0, blob.size)).digest).toBe(layer.digest);
      }
    }
    await source.close();
  });

  it('has sorted members without an owner or a time, and the same bytes each time', async () => {
    await write(archive, 'v1', 'a');
    const headers = await listHeaders(archive);
    const names = headers.map(({ name }) => name);
    expect(names).toEqual([...names].sort());
    expect(names.slice(0, 2)).toEqual(['blobs/', 'blobs/sha256/']);
    expect(names.slice(-2)).toEqual(['index.json', 'oci-layout']);
    expect(new Set(headers.map(({ uid, gid, mtime }) => `${uid} ${gid} ${mtime.getTime()}`))).toEqual(
      new Set(['0 0 0']),
    );
    expect(new Set(headers.map(({ type, mode }) => `${type} ${mode.toString(8)}`))).toEqual(
      new Set(['directory 755', 'file 644']),
    );
    const again = join(folder, 'again.tar');
    await write(again, 'v1', 'a');
    expect(readFileSync(again)).toEqual(readFileSync(archive));
  });

  it('appears when it is closed, and not when it is given up', async () => {
    const store = await OciArchiveDestination.open(archive, { tmpDir: folder });
    const descriptor = await writeImage(store, 'a');
    await store.setReference('v1', descriptor);
    expect(readdirSync(folder)).toEqual([]);
    await store.abort();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('replaces an older one, which stays when the new one fails', async () => {
    await write(archive, 'v1', 'old');
    const before = readFileSync(archive);
    const store = await OciArchiveDestination.open(archive, { signal: AbortSignal.abort(), tmpDir: folder });
    await store.setReference('v1', await writeImage(store, 'new'));
    expect((await caught(() => store.close())).code).toBe('CANCELLED');
    expect(readFileSync(archive)).toEqual(before);
    expect(readdirSync(folder)).toEqual(['image.tar']);
    await expectImage(archive, await write(archive, 'v1', 'new'), 'new');
  });

  it('holds empty blobs', async () => {
    const store = await OciArchiveDestination.open(archive, { tmpDir: folder });
    const empty = describeBytes(ociTypes.layer, Buffer.from(''));
    await (await store.createBlob()).commit(empty);
    await store.setReference('v1', await writeImage(store, 'a'));
    await store.close();
    const source = await openOciArchiveSource(archive);
    expect((await source.openBlob(empty)).size).toBe(0);
    await source.close();
  });

  it('refuses wrong blobs, unknown references and folders that are not there', async () => {
    expect((await caught(() => OciArchiveDestination.open(join(folder, 'no', 'x.tar')))).code).toBe(
      'NOT_FOUND',
    );
    const store = await OciArchiveDestination.open(archive, { tmpDir: folder });
    const descriptor = describeBytes(ociTypes.config, Buffer.from('{}'));
    expect((await caught(() => store.writeBlob(descriptor, Buffer.from('[]')))).code).toBe('MISMATCH');
    const draft = await store.createBlob();
    expect((await caught(() => draft.commit(descriptor))).code).toBe('MISMATCH');
    expect((await caught(() => store.setReference('v1', descriptor))).code).toBe('NOT_FOUND');
    await store.close();
    expect(existsSync(archive)).toBe(false);
  });
});

describe('an archive that is read', () => {
  it('may be one of tar(1), with ./ before its names', async () => {
    const layout = join(folder, 'layout');
    const store = await LayoutDestination.open(layout);
    const descriptor = await writeImage(store, 'a');
    await store.setReference('v1', descriptor);
    await store.close();
    spawnSync('tar', ['-cf', archive, '-C', layout, '.']);
    await expectImage(archive, descriptor, 'a');
  });

  it('may be compressed with gzip', async () => {
    const descriptor = await write(archive, 'v1', 'a');
    writeFileSync(`${archive}.gz`, gzipSync(readFileSync(archive)));
    await expectImage(`${archive}.gz`, descriptor, 'a');
    writeFileSync(`${archive}.gz`, gzipSync(readFileSync(archive)).subarray(0, 5000));
    expect((await caught(() => openOciArchiveSource(`${archive}.gz`, { tmpDir: folder }))).code).toBe(
      'CORRUPT',
    );
    writeFileSync(`${archive}.zst`, Buffer.from('28b52ffd00', 'hex'));
    expect((await caught(() => openOciArchiveSource(`${archive}.zst`))).code).toBe('UNSUPPORTED');
    expect(readdirSync(folder).sort()).toEqual(['image.tar', 'image.tar.gz', 'image.tar.zst']);
  });

  it('must be a tar, and of a layout', async () => {
    expect((await caught(() => openOciArchiveSource(archive))).code).toBe('NOT_FOUND');
    writeFileSync(archive, 'no tar at all '.repeat(100));
    expect((await caught(() => openOciArchiveSource(archive))).code).toBe('CORRUPT');
    mkdirSync(join(folder, 'other'));
    spawnSync('tar', ['-cf', archive, '-C', folder, 'other']);
    expect((await caught(() => openOciArchiveSource(archive))).code).toBe('NOT_FOUND');
    await write(archive, 'v1', 'a');
    writeFileSync(archive, readFileSync(archive).subarray(0, 150_000));
    expect((await caught(() => openOciArchiveSource(archive))).code).toBe('CORRUPT');
  });
});

describe('standard input and output', () => {
  const start = (mode: string, input: 'ignore' | number, output: 'pipe' | number): ChildProcess => {
    const runner = join(__dirname, '..', '..', 'support', 'run-ts.mjs');
    const script = join(__dirname, 'archive-pipe.ts');
    return spawn(process.execPath, [runner, cache, script, mode], { stdio: [input, output, 'pipe'] });
  };
  let cache: string;
  beforeEach(() => {
    cache = join(folder, 'cache');
    mkdirSync(cache);
  });

  it('carry an archive from one process to another', async () => {
    expect((await once(start('write', 'ignore', openSync(archive, 'w')), 'close'))[0]).toBe(0);
    const reader = start('read', openSync(archive, 'r'), 'pipe');
    let text = '';
    reader.stdout!.on('data', (chunk: Buffer) => (text += chunk.toString()));
    expect((await once(reader, 'close'))[0]).toBe(0);
    const source = await openOciArchiveSource(archive);
    expect(text).toBe(`${(await source.resolve('v1')).digest}\n`);
    await source.close();
  });

  it('may be full or closed', async () => {
    const writer = start('write', 'ignore', openSync('/dev/full', 'w'));
    let code = '';
    writer.stderr!.on('data', (chunk: Buffer) => (code += chunk.toString()));
    expect((await once(writer, 'close'))[0]).toBe(1);
    expect(code).toBe('NO_SPACE\n');

    const closed = start('write', 'ignore', 'pipe');
    code = '';
    closed.stderr!.on('data', (chunk: Buffer) => (code += chunk.toString()));
    closed.stdout!.destroy();
    expect((await once(closed, 'close'))[0]).toBe(1);
    expect(code).toBe('IO\n');
  });
});
