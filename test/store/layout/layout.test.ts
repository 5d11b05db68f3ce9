import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readManifest } from '../../../src/oci/manifest';
import type { Descriptor } from '../../../src/oci/types';
import { LayoutDestination, openLayoutSource } from '../../../src/store/layout/layout';
import { blobPath } from '../../../src/store/layout/source';
import { caught } from '../../support/caught';
import { json, manifest, ociTypes } from '../../oci/samples';
import { describe as describeBytes, layerBytes, writeImage } from '../sample-image';

let folder: string;
let layout: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'layout-'));
  layout = join(folder, 'image');
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

async function write(reference: string | undefined, seed: string): Promise<Descriptor> {
  const store = await LayoutDestination.open(layout);
  const descriptor = await writeImage(store, seed);
  await store.setReference(reference, descriptor);
  await store.close();
  return descriptor;
}

async function resolve(reference: string | undefined): Promise<Descriptor> {
  return (await openLayoutSource(layout)).resolve(reference);
}

function files(): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Writes a valid layout with this index.json by hand. */
function layoutByHand(index: object): void {
  mkdirSync(join(layout, 'blobs', 'sha256'), { recursive: true });
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(join(layout, 'index.json'), json(index));
}

function putBlob(descriptor: Descriptor, bytes: Uint8Array): void {
  writeFileSync(join(layout, blobPath(descriptor)), bytes);
}

describe('a layout that is written', () => {
  it('has its files and nothing else, and gives back what was written', async () => {
    const descriptor = await write('v1', 'a');
    expect(readdirSync(layout).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
    expect(readdirSync(join(layout, 'blobs', 'sha256'))).toHaveLength(5);

    const source = await openLayoutSource(layout);
    expect(await source.resolve('v1')).toMatchObject(descriptor);
    const document = await readManifest(source, descriptor);
    const layer = document.kind === 'manifest' ? document.manifest.layers[1]! : descriptor;
    const blob = await source.openBlob(layer);
    expect(await blob.read(5, 100)).toEqual(layerBytes('a two').subarray(5, 105));
    await blob.close();
    const file = await source.openFile(layer);
    expect(readFileSync(file.fd).subarray(file.offset, file.offset + file.size)).toEqual(layerBytes('a two'));
    await file.close();
    await source.close();
  });

  it('shows nothing before setReference()', async () => {
    const store = await LayoutDestination.open(layout);
    const descriptor = await writeImage(store, 'a');
    expect(await store.has(descriptor)).toBe(true);
    expect(readdirSync(layout)).toEqual(['.seekable-erofs']);
    await store.close();
  });

  it('takes several images, and shows of each what its reference leads to', async () => {
    const store = await LayoutDestination.open(layout);
    const [a, b] = [await writeImage(store, 'a'), await writeImage(store, 'b')];
    await store.setReference('a', a);
    const blobs = join(layout, 'blobs', 'sha256');
    expect(readdirSync(blobs)).toHaveLength(5);
    await Promise.all([store.setReference('b', b), store.setReference('alias', a)]);
    expect(readdirSync(blobs)).toHaveLength(9);
    await writeImage(store, 'c'); // gets no reference
    await store.close();
    expect(readdirSync(blobs)).toHaveLength(9);
    for (const name of ['a', 'b', 'alias']) await resolve(name);
    expect(readdirSync(layout).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
  });

  it('takes images at the same time, and one that is not whole spoils none of the others', async () => {
    const store = await LayoutDestination.open(layout);
    const images = [await writeImage(store, 'a'), await writeImage(store, 'b'), await writeImage(store, 'c')];
    const bytes = json(manifest(2)); // of blobs that nobody has written
    const broken = describeBytes(ociTypes.manifest, bytes.subarray(0, -1));
    await store.writeBlob(broken, bytes.subarray(0, -1));
    const all = [images[0]!, images[1]!, broken, images[2]!];
    const ends = await Promise.allSettled(all.map((image, i) => store.setReference(`v${i}`, image)));
    expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
    await store.close();
    for (const i of [0, 1, 3]) expect(await resolve(`v${i}`)).toMatchObject(all[i]!);
    expect(readdirSync(join(layout, 'blobs', 'sha256'))).toHaveLength(13);
  });

  it('keeps other images and unknown members, and replaces an image of the same name in its place', async () => {
    const other = {
      ...describeBytes(ociTypes.manifest, json(manifest(0))),
      annotations: { 'org.opencontainers.image.ref.name': 'other' },
    };
    const old = { ...other, annotations: { 'org.opencontainers.image.ref.name': 'v1' } };
    layoutByHand({ schemaVersion: 2, x: 1, manifests: [old, other], annotations: { a: 'b' } });
    const descriptor = await write('v1', 'a');
    expect(JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'))).toEqual({
      schemaVersion: 2,
      x: 1,
      manifests: [{ ...descriptor, annotations: { 'org.opencontainers.image.ref.name': 'v1' } }, other],
      annotations: { a: 'b' },
    });
  });

  it('replaces the only image without a name when none is given', async () => {
    await write(undefined, 'a');
    await write('v1', 'b');
    const c = await write(undefined, 'c');
    const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as { manifests: Descriptor[] };
    expect(index.manifests).toHaveLength(2);
    expect(index.manifests[0]).toEqual(c);
  });

  it('replaces a blob that was cut short', async () => {
    const descriptor = await write('v1', 'a');
    putBlob(descriptor, Buffer.from('{'));
    await write('v1', 'a');
    expect((await (await openLayoutSource(layout)).readJson(descriptor)).length).toBe(descriptor.size);
  });

  it('refuses blobs that are not what their descriptors say, and references to what was not written', async () => {
    const store = await LayoutDestination.open(layout);
    const bytes = Buffer.from('{}');
    const descriptor = describeBytes(ociTypes.config, bytes);
    expect((await caught(() => store.writeBlob(descriptor, Buffer.from('[]')))).code).toBe('MISMATCH');
    const draft = await store.createBlob();
    writeSync(draft.fd, 'abc');
    expect((await caught(() => draft.commit(descriptor))).code).toBe('MISMATCH');
    expect((await caught(() => store.setReference('v1', descriptor))).code).toBe('NOT_FOUND');
    await store.abort();
    expect(files()).toEqual([]);
  });
});

describe('the folder of a layout', () => {
  it.each([true, false])('is left as it was by abort() (there before: %s)', async (isThere) => {
    if (isThere) mkdirSync(layout);
    const store = await LayoutDestination.open(layout);
    await writeImage(store, 'a');
    await (await store.createBlob()).discard();
    await store.createBlob();
    await store.abort();
    expect(existsSync(layout)).toBe(isThere);
    expect(files()).toEqual([]);
  });

  it('keeps an image that another writer put there when this one gives up', async () => {
    const store = await LayoutDestination.open(layout);
    await writeImage(store, 'a');
    await write('v1', 'b');
    const before = files().filter((path) => !path.includes('.seekable-erofs'));
    await store.abort();
    expect(files()).toEqual(before);
    expect(await resolve('v1')).toBeDefined();
  });

  it('must be empty or a layout, and have a parent', async () => {
    expect((await caught(() => LayoutDestination.open(join(folder, 'no', 'image')))).code).toBe('NOT_FOUND');
    mkdirSync(layout);
    writeFileSync(join(layout, 'mine'), '');
    expect((await caught(() => LayoutDestination.open(layout))).code).toBe('USAGE');
    expect((await caught(() => LayoutDestination.open(join(layout, 'mine')))).code).toBe('USAGE');
    expect(files()).toEqual([join(layout, 'mine')]);
  });

  it('is refused when its index is broken, before anything is written', async () => {
    layoutByHand({ schemaVersion: 2, manifests: 'x' });
    const before = files();
    expect((await caught(() => LayoutDestination.open(layout))).code).toBe('CORRUPT');
    expect(files()).toEqual(before);
  });

  it('does not lead the cleaning up elsewhere', async () => {
    const elsewhere = join(folder, 'elsewhere');
    mkdirSync(join(elsewhere, `drafts-${'a'.repeat(16)}`), { recursive: true });
    writeFileSync(join(elsewhere, `drafts-${'a'.repeat(16)}`, 'precious'), '');
    layoutByHand({ schemaVersion: 2, manifests: [] });
    symlinkSync(elsewhere, join(layout, '.seekable-erofs'));
    const before = files();
    expect((await caught(() => LayoutDestination.open(layout))).code).toBe('USAGE');
    expect(files()).toEqual(before);
    rmSync(join(layout, '.seekable-erofs'));
    mkdirSync(join(layout, '.seekable-erofs'));
    symlinkSync(
      join(elsewhere, `drafts-${'a'.repeat(16)}`),
      join(layout, '.seekable-erofs', `drafts-${'b'.repeat(16)}`),
    );
    await (await LayoutDestination.open(layout)).abort();
    expect(existsSync(join(elsewhere, `drafts-${'a'.repeat(16)}`, 'precious'))).toBe(true);
  });

  it('is cleaned of the drafts of a dead writer, not of those of a living one', async () => {
    const living = await LayoutDestination.open(layout);
    const descriptor = await writeImage(living, 'a');
    const dead = join(layout, '.seekable-erofs', `drafts-${'0'.repeat(16)}`);
    mkdirSync(dead);
    writeFileSync(join(dead, '0'), 'x');
    await write('v2', 'b');
    expect(existsSync(dead)).toBe(false);
    await living.setReference('v1', descriptor);
    await living.close();
    expect(await resolve('v1')).toMatchObject(descriptor);
    expect(readdirSync(layout).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
  });
});

describe('a layout that is read', () => {
  it('finds images by name, by digest, and the only one', async () => {
    const a = await write('v1', 'a');
    expect(await resolve(undefined)).toMatchObject(a);
    await write('alias', 'a');
    expect(await resolve(undefined)).toMatchObject(a);
    const b = await write('v2', 'b');
    expect(await resolve('v2')).toMatchObject(b);
    expect(await resolve(`@${a.digest}`)).toMatchObject(a);
    for (const reference of [undefined, 'v3', 'V1', `@sha256:${'0'.repeat(64)}`]) {
      const error = await caught(() => resolve(reference));
      expect([error.code, error.hint]).toEqual(['NOT_FOUND', 'there is v1, alias, v2']);
    }
  });

  it('refuses a name of two images', async () => {
    const annotations = { 'org.opencontainers.image.ref.name': 'v1' };
    const entries = ['a', 'b'].map((text) => ({
      ...describeBytes(ociTypes.manifest, Buffer.from(text)),
      annotations,
    }));
    layoutByHand({ schemaVersion: 2, manifests: entries });
    expect((await caught(() => resolve('v1'))).code).toBe('CORRUPT');
  });

  it('is refused when it is none', async () => {
    expect((await caught(() => openLayoutSource(layout))).code).toBe('NOT_FOUND');
    mkdirSync(layout);
    expect((await caught(() => openLayoutSource(layout))).why).toBe('no OCI image layout there');
    writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"2.0.0"}');
    expect((await caught(() => openLayoutSource(layout))).code).toBe('UNSUPPORTED');
    writeFileSync(join(layout, 'oci-layout'), '{}');
    expect((await caught(() => openLayoutSource(layout))).code).toBe('CORRUPT');
    expect((await caught(() => openLayoutSource(join(layout, 'oci-layout')))).code).toBe('NOT_FOUND');
  });

  it('checks blobs that it reads whole', async () => {
    layoutByHand({ schemaVersion: 2, manifests: [] });
    const source = await openLayoutSource(layout);
    const good = describeBytes(ociTypes.config, Buffer.from('{}'));
    putBlob(good, Buffer.from('[]'));
    expect((await caught(() => source.readJson(good))).code).toBe('MISMATCH');
    putBlob(good, Buffer.from('{}\n'));
    expect((await caught(() => source.readJson(good))).code).toBe('MISMATCH');
    expect((await caught(() => source.openBlob(good))).code).toBe('MISMATCH');
    expect((await caught(() => source.openFile({ ...good, size: 2 ** 30 }))).code).toBe('MISMATCH');
    expect((await caught(() => source.readJson({ ...good, size: 2 ** 30 }))).code).toBe('UNSUPPORTED');
    expect(
      (await caught(() => source.readJson({ ...good, digest: 'sha256:../../../etc/passwd' }))).code,
    ).toBe('CORRUPT');
    expect((await caught(() => source.openBlob({ ...good, digest: `sha256:${'1'.repeat(64)}` }))).code).toBe(
      'NOT_FOUND',
    );
  });

  it('does not wait for a FIFO in the place of a blob', async () => {
    layoutByHand({ schemaVersion: 2, manifests: [] });
    const blob = describeBytes(ociTypes.config, Buffer.from(''));
    spawnSync('mkfifo', [join(layout, blobPath(blob))]);
    const source = await openLayoutSource(layout);
    expect((await caught(() => source.openBlob(blob))).code).toBe('USAGE');
  });
});
