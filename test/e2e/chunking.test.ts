import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import {
  decodeBlob,
  encodeLayer,
  openBlob,
  verifyImage,
  type EncodedLayer,
  type EncodeOptions,
} from '../../src';
import { tarBytes, type TarEntryBytes } from '../support/tar-bytes';
import { runCli, runJson } from './run-cli';
import { noise, sha256, writeLayout } from './sample';
import { at, put, useFolders } from './workspace';

useFolders();

const files = { profile: 'erofs-image-spec', chunking: 'files', chunkSize: '64KiB' } as const;

/** Small files in two folders, large ones between them, and one with a hole; `changes` replaces contents. */
function layerOf(changes: Record<string, string> = {}): Buffer {
  const entries: TarEntryBytes[] = [];
  const add = (name: string, content: string): void => {
    entries.push({ name, content: changes[name] ?? content });
  };
  for (let i = 0; i < 300; i++)
    add(`a/small-${i}`, noise(1 + ((i * 7919) % 9000), `a${i}`).toString('latin1'));
  add('b/large', noise(500_000, 'large').toString('latin1'));
  add('b/sparse', `x${'\0'.repeat(300_000)}y`);
  for (let i = 0; i < 300; i++)
    add(`c/small-${i}`, noise(1 + ((i * 104_729) % 9000), `c${i}`).toString('latin1'));
  return tarBytes(entries);
}

async function encode(name: string, layer: string, options: EncodeOptions): Promise<EncodedLayer> {
  return encodeLayer(layer, at(name), options);
}

async function checksumsOf(name: string, descriptor: EncodedLayer): Promise<Map<string, number>> {
  const blob = await openBlob(at(name), { descriptor });
  const { frames } = blob.section;
  const found = new Map<string, number>();
  for (let i = 0; i + 1 < frames.offsets.length; i++) {
    const checksum = Buffer.from(frames.checksums.subarray(64 * i, 64 * i + 64)).toString('hex');
    found.set(checksum, frames.offsets[i + 1]! - frames.offsets[i]!);
  }
  await blob.close();
  return found;
}

test.each([{}, { dmVerity: true }, { noCompress: true, dmVerity: true }])(
  'chunks by files %j: the same bytes with any number of threads, of the tar and of its image; every reader reads them',
  async (more) => {
    const tar = await put('layer.tar', layerOf());
    const options = { ...files, ...more };
    const encoded = await encode('blob', tar, { ...options, threads: 1 });
    const { digest } = encoded;
    expect((await encode('threads', tar, { ...options, threads: 4 })).digest).toBe(digest);
    await decodeBlob(at('blob'), at('image'), { descriptor: encoded });
    expect((await encode('again', at('image'), options)).digest).toBe(digest);
    expect(sha256(await readFile(at('blob')))).toBe(digest);

    const blob = await openBlob(at('blob'), { descriptor: encoded });
    expect(blob.section.chunkSize).toBeNull();
    expect(blob.section.frames.starts.length).toBe(encoded.chunks + 1);
    expect(await blob.read(1000, 400_000)).toEqual(readFileSync(at('image')).subarray(1000, 401_000));
    await blob.close();
    expect(await verifyImage(at('blob'), { descriptor: encoded })).toMatchObject({ ok: true });
    await put('descriptor', JSON.stringify(encoded));
    const check = await runCli(['check', tar, at('blob'), '--descriptor', at('descriptor')]);
    expect(check.exitCode).toBe(0);
  },
);

test('images that differ in some files share all other chunks when they are cut by files, and few when not', async () => {
  const changes = {
    'a/small-20': noise(8000, 'new').toString('latin1'),
    'b/large': noise(400_000, 'new large').toString('latin1'),
  };
  await put('one.tar', layerOf());
  await put('other.tar', layerOf(changes));
  const shares: number[] = [];
  for (const chunking of ['files', 'fixed'] as const) {
    const one = await encode('one', at('one.tar'), { ...files, chunking });
    const other = await encode('other', at('other.tar'), { ...files, chunking });
    const known = await checksumsOf('one', one);
    const all = [...(await checksumsOf('other', other))];
    const isNew = all.filter(([checksum]) => !known.has(checksum)).reduce((sum, [, size]) => sum + size, 0);
    shares.push(isNew);
  }
  expect(shares[0]).toBeLessThan(408_000 * 1.5);
  expect(shares[1]).toBeGreaterThan(1_500_000);
});

test('chunks by files are of profile erofs-image-spec alone', async () => {
  const tar = await put('layer.tar', layerOf());
  const refused = await runCli(['encode', tar, at('blob'), '--chunking', 'files']);
  expect([refused.exitCode, refused.stderr]).toEqual([2, expect.stringContaining('chunking by files')]);
  const wrong = await runCli(['encode', tar, at('blob'), '--profile', 'erofs-image-spec', '--chunking', 'x']);
  expect(wrong.exitCode).toBe(2);
});

interface Converted {
  manifests: { layers: { digest: string; reused: boolean }[] }[];
}

test('convert cuts by files whatever the source is, once: a layer that is cut so stays as it is', async () => {
  await writeLayout(at('source'), [layerOf()]);
  const flags = ['--profile', 'erofs-image-spec', '--chunking', 'files', '--chunk-size', '64KiB'];
  const convert = async (from: string, to: string, ...more: string[]) => {
    const { document, exitCode } = await runJson<Converted>([
      'convert',
      `oci:${at(from)}:sample`,
      `oci:${at(to)}:sample`,
      ...more,
    ]);
    expect(exitCode).toBe(0);
    return document.manifests[0]!.layers[0]!;
  };
  const first = await convert('source', 'draft', ...flags);
  await convert('draft', 'containerd', '--profile', 'containerd');
  expect((await convert('containerd', 'back', ...flags)).digest).toBe(first.digest);
  expect(await convert('draft', 'same', ...flags)).toMatchObject({ digest: first.digest, reused: true });
  const fixed = await convert('draft', 'fixed', '--profile', 'erofs-image-spec', '--chunking', 'fixed');
  expect(fixed).toMatchObject({ reused: false });
  expect(await convert('draft', 'any', '--profile', 'erofs-image-spec')).toMatchObject({
    digest: first.digest,
  });
  expect(await convert('fixed', 'files', ...flags)).toMatchObject({ digest: first.digest, reused: false });
});
