import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { encodeLayer, inspect, type BlobInspection, type ImageInspection } from '../../src';
import { runCli, runJson } from '../e2e/run-cli';
import { noise, writeLayout } from '../e2e/sample';
import { at, put, useFolders } from '../e2e/workspace';
import { tarBytes } from '../support/tar-bytes';

useFolders();

const flags = ['--profile', 'erofs-image-spec', '--chunking', 'files', '--chunk-size', '64KiB'];

/** A layer of ten files, with other bytes in the one that is `changed`. */
const layer = (changed?: number): Buffer =>
  tarBytes(
    Array.from({ length: 10 }, (_, i) => ({
      name: `file-${i}`,
      content: noise(60_000, i === changed ? `new ${i}` : `${i}`).toString('latin1'),
    })),
  );
const common = tarBytes([{ name: 'common', content: noise(100_000, 'common').toString('latin1') }]);

async function makeImage(name: string, changed?: number): Promise<string> {
  await writeLayout(at(`${name}.tars`), [common, layer(changed)]);
  const reference = `oci:${at(name)}:sample`;
  const made = await runCli(['convert', `oci:${at(`${name}.tars`)}:sample`, reference, ...flags]);
  expect(made.exitCode).toBe(0);
  return reference;
}

const sizeOf = (document: ImageInspection): number =>
  document.manifests[0]!.layers.reduce((sum, { size }) => sum + size, 0);

test('inspect --shared-with says how much of an image others have: layers, and chunks by their checksums', async () => {
  const [one, two] = [await makeImage('one'), await makeImage('two', 4)];
  const { document } = await runJson<ImageInspection>([
    'inspect',
    one,
    '--shared-with',
    two,
    '--shared-with',
    one,
  ]);
  const [other, same] = document.sharedWith!;
  const bytes = sizeOf(document);
  const chunks = document.manifests[0]!.layers.reduce((sum, { table }) => sum + table!.entries.length, 0);
  expect(same).toEqual({ reference: one, bytes, sharedBytes: bytes, chunks, sharedChunks: chunks });
  // The layer in common, and all of the other one but one file and the table: not even the metadata is another.
  expect(other).toMatchObject({ reference: two, bytes, chunks, sharedChunks: chunks - 1 });
  expect(other!.sharedBytes).toBeGreaterThan(100_000 + 9 * 60_000);
  expect(other!.sharedBytes).toBeLessThan(bytes - 60_000);
  const text = await runCli(['inspect', one, '--shared-with', two]);
  expect(text.stdout.toString()).toContain(`${other!.sharedBytes} of ${bytes} bytes`);
});

test('blobs in files are compared as well, and tars have in common what has one digest', async () => {
  await put('one.tar', layer());
  await put('two.tar', layer(2));
  const options = { profile: 'erofs-image-spec', chunking: 'files', chunkSize: 65_536 } as const;
  const descriptor = await encodeLayer(at('one.tar'), at('one'), options);
  await encodeLayer(at('two.tar'), at('two'), options);
  const found = (await inspect(at('one'), { descriptor, sharedWith: [at('two')] })) as BlobInspection;
  expect(found.sharedWith![0]).toMatchObject({
    bytes: readFileSync(at('one')).length,
    chunks: 11,
    sharedChunks: 10,
  });
  await makeImage('image', 2);
  const tars = `oci:${at('image.tars')}:sample`;
  const ofTars = (await inspect(tars, {
    sharedWith: [`oci:${at('image')}:sample`, tars],
  })) as ImageInspection;
  expect(ofTars.sharedWith!.map(({ sharedBytes }) => sharedBytes)).toEqual([0, sizeOf(ofTars)]);
  const wrong = await runCli(['inspect', tars, '--shared-with', `oci:${at('none')}:sample`]);
  expect(wrong.exitCode).toBe(1);
});

interface BatchDocument {
  sharing?: {
    images: { reference: string; bytes: number; sharedBytes: number }[];
    bytes: number;
    distinctLayerBytes: number;
    distinctChunkBytes: number;
  };
}

test('batch --report says how much the images of a list share, also of those that were done before', async () => {
  const jobs: { source: string; destination: string }[] = [];
  for (const [name, changed] of [
    ['one', undefined],
    ['two', 4],
    ['three', 7],
  ] as const) {
    await writeLayout(at(`${name}.tars`), [common, layer(changed)]);
    jobs.push({ source: `oci:${at(`${name}.tars`)}:sample`, destination: `oci:${at(name)}:sample` });
  }
  await put('list.json', JSON.stringify(jobs));
  const run = async (...more: string[]) =>
    runJson<BatchDocument>(['batch', at('list.json'), ...flags, ...more]);
  const { document } = await run('--report');
  const { images, bytes, distinctLayerBytes, distinctChunkBytes } = document.sharing!;
  expect(images.map(({ reference }) => reference)).toEqual(jobs.map(({ destination }) => destination));
  expect(bytes).toBe(images.reduce((sum, image) => sum + image.bytes, 0));
  expect(bytes - distinctLayerBytes).toBeGreaterThan(2 * 100_000);
  // Of three layers of ten files there are twelve different ones.
  expect(distinctLayerBytes - distinctChunkBytes).toBeGreaterThan(17 * 60_000);
  expect((await run('--report')).document.sharing).toEqual(document.sharing);
  expect((await run()).document.sharing).toBeUndefined();
  const text = await runCli(['batch', at('list.json'), ...flags, '--report']);
  expect(text.stdout.toString()).toContain('shared among the images');
});
