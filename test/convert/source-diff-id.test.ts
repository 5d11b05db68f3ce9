import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { convertImage } from '../../src/convert/image';
import { sourceDiffIdAnnotation, sourceDiffIdOf } from '../../src/format/annotations';
import { LayoutBuilder, type Descriptor } from '../conformance/support/image';
import { tarBytes } from '../support/tar-bytes';

// A converted layer says of which tar it was built: caches of nodes are keyed by the tars' DiffIDs.

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'source-diff-id-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const at = (name: string): string => join(folder, name);

interface Document {
  manifests: Descriptor[];
  config: Descriptor;
  layers: Descriptor[];
  rootfs: { diff_ids: string[] };
}

const parse = (path: string): Document => JSON.parse(readFileSync(path, 'utf8')) as Document;
const blobOf = (name: string, digest: string): Document =>
  parse(join(at(name), 'blobs', 'sha256', digest.slice('sha256:'.length)));
const manifestOf = (name: string): Document =>
  blobOf(name, parse(join(at(name), 'index.json')).manifests[0]!.digest);
const originsOf = (name: string): (string | null)[] => manifestOf(name).layers.map(sourceDiffIdOf);

test('a layer that is built of a tar says which; one that is wrapped anew keeps that', async () => {
  const builder = new LayoutBuilder(at('source'));
  const tars = ['one', 'two'].map((name) => builder.tarLayer(tarBytes([{ name, content: name }])));
  builder.name(builder.image(tars));
  const { rootfs } = blobOf('source', manifestOf('source').config.digest);

  await convertImage(`oci:${at('source')}`, `oci:${at('first')}`, {});
  expect(originsOf('first')).toEqual(rootfs.diff_ids);
  await convertImage(`oci:${at('first')}`, `oci:${at('second')}`, { chunkSize: 65536, dmVerity: true });
  expect(originsOf('second')).toEqual(rootfs.diff_ids);
  await convertImage(`oci:${at('first')}`, `oci:${at('third')}`, { profile: 'erofs-image-spec' });
  expect(originsOf('third')).toEqual(rootfs.diff_ids);
});

test('what is no digest is nothing', () => {
  expect(sourceDiffIdOf({ annotations: { [sourceDiffIdAnnotation]: '../../etc' } })).toBeNull();
  expect(sourceDiffIdOf({ annotations: { [sourceDiffIdAnnotation]: 5 } })).toBeNull();
  expect(sourceDiffIdOf({})).toBeNull();
});
