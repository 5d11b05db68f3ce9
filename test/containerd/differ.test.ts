import { status } from '@grpc/grpc-js';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { applyLayer, type ApplyRequest } from '../../src/containerd/differ';
import { parseDmveritySidecar } from '../../src/format/dmverity-sidecar';
import { parseVeritySuperblock } from '../../src/format/verity-superblock';
import { buildErofs } from '../../src/layer/build';
import { encodeLayer, type EncodeOptions } from '../../src/layer/encode';
import type { EncodedLayer } from '../../src/layer/encoded-layer';
import { verityTree } from '../../src/layer/verity';
import { native } from '../../src/native/binding';
import { writeErofs } from '../support/erofs-writer';

const profiles: [string, EncodeOptions][] = [
  ['containerd', { chunkSize: 65536 }],
  ['containerd with a tree', { chunkSize: 65536, dmVerity: true }],
  ['erofs-image-spec', { chunkSize: 65536, profile: 'erofs-image-spec' }],
  ['erofs-image-spec with a tree', { chunkSize: 65536, profile: 'erofs-image-spec', dmVerity: true }],
];

let work: string;
let root: string;
let layer: string;
let tar: string;

beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'differ-'));
  root = join(work, 'containerd');
  layer = join(root, 'io.containerd.snapshotter.v1.erofs/snapshots/7');
  mkdirSync(join(root, 'io.containerd.content.v1.content/blobs/sha256'), { recursive: true });
  const tree = join(work, 'tree');
  mkdirSync(tree);
  writeFileSync(join(tree, 'data'), Buffer.alloc(300_000, 'some data '));
  tar = join(work, 'layer.tar');
  execFileSync('tar', ['-C', tree, '-cf', tar, '.']);
});
afterAll(() => {
  rmSync(work, { recursive: true });
});

beforeEach(() => {
  rmSync(layer, { recursive: true, force: true });
  mkdirSync(join(layer, 'fs'), { recursive: true });
  writeFileSync(join(layer, '.erofslayer'), '');
});

const contentPath = (digest: string): string =>
  join(root, 'io.containerd.content.v1.content/blobs/sha256', digest.replace('sha256:', ''));

/** Puts a blob of the layer into containerd's content store. */
async function store(options: EncodeOptions): Promise<EncodedLayer> {
  const blob = join(work, 'blob');
  const encoded = await encodeLayer(tar, blob, options);
  renameSync(blob, contentPath(encoded.digest));
  return encoded;
}

const request = (
  { mediaType, digest, size, annotations }: EncodedLayer,
  options = ['rw', 'rbind'],
): ApplyRequest => ({
  diff: { media_type: mediaType, digest, size, annotations },
  mounts: [{ type: 'bind', source: join(layer, 'fs'), options }],
});

const apply = (wanted: ApplyRequest) => applyLayer(wanted, { root: '/nonexistent' });

test.each(profiles)('%s: the layer is unpacked, with its sidecar', async (_, options) => {
  const encoded = await store(options);
  const applied = await apply(request(encoded));
  expect(applied).toMatchObject({
    digest: encoded.diffId,
    mediaType: encoded.mediaType.replace('+zstd', ''),
  });
  const image = join(work, 'expected');
  await buildErofs(tar, image);
  const expected = readFileSync(image);
  const found = readFileSync(join(layer, 'layer.erofs'));
  expect(found.subarray(0, expected.length).equals(expected)).toBe(true);
  const names = readdirSync(layer).sort();
  if (options.dmVerity !== true) {
    expect(names).toEqual(['.erofslayer', 'fs', 'layer.erofs']);
    expect(found.length).toBe(expected.length);
    return;
  }
  expect(names).toEqual(['.erofslayer', 'fs', 'layer.erofs', 'layer.erofs.dmverity']);
  const sidecar = parseDmveritySidecar(readFileSync(join(layer, 'layer.erofs.dmverity'), 'utf8'));
  // containerd opens trees of one shape: another one is made anew, of the image that was checked.
  const said = Object.entries(encoded.annotations).find(([name]) => name.endsWith('root_digest'))![1];
  const salt = new Uint8Array(32);
  const own = await verityTree(image, { algorithm: 'sha256', salt });
  expect(sidecar.rootDigest).toBe(said.startsWith('sha256:') ? said : own.rootDigest);
  if (said.startsWith('sha256:')) return;
  const { hashOffset } = sidecar;
  expect(hashOffset).toBe(own.dataBlocks * 4096);
  const superblock = parseVeritySuperblock(found.subarray(hashOffset, hashOffset + 512), 'layer.erofs');
  expect(superblock).toMatchObject({
    algorithm: 'sha256',
    dataBlockSize: 4096,
    hashBlockSize: 4096,
    dataBlocks: own.dataBlocks,
  });
  expect(found.subarray(hashOffset + 4096).equals(own.tree)).toBe(true);
});

test.each(profiles)('%s: any damaged byte is refused, and nothing is left', async (_, options) => {
  const encoded = await store(options);
  const path = contentPath(encoded.digest);
  const whole = readFileSync(path);
  for (let i = 0; i < 12; i++) {
    const damaged = Buffer.from(whole);
    damaged[Math.floor((i * (whole.length - 1)) / 11)]! ^= 0x40;
    writeFileSync(path, damaged);
    await expect(apply(request(encoded))).rejects.toThrow();
    expect(readdirSync(layer).sort()).toEqual(['.erofslayer', 'fs']);
  }
  writeFileSync(path, whole.subarray(0, -1));
  await expect(apply(request(encoded))).rejects.toMatchObject({ code: 'MISMATCH' });
  writeFileSync(path, whole);
});

test('a blob that is what its digest says, but whose tree is another, is refused', async () => {
  const encoded = await store({ chunkSize: 65536, dmVerity: true });
  const annotations = Object.fromEntries(
    Object.entries(encoded.annotations).map(([name, value]) => [
      name,
      name.endsWith('root_digest') ? value.replace(/.$/, (last) => (last === '0' ? '1' : '0')) : value,
    ]),
  );
  await expect(apply(request({ ...encoded, annotations }))).rejects.toMatchObject({ code: 'MISMATCH' });
  expect(readdirSync(layer).sort()).toEqual(['.erofslayer', 'fs']);
});

test('what others unpack is left to them', async () => {
  const encoded = await store({ chunkSize: 65536 });
  const wanted = request(encoded);
  const unimplemented = { status: 'UNIMPLEMENTED' };
  const other = { ...wanted.diff!, media_type: 'application/vnd.oci.image.layer.v1.tar+gzip' };
  await expect(apply({ ...wanted, diff: other })).rejects.toMatchObject(unimplemented);
  rmSync(join(layer, '.erofslayer'));
  await expect(apply(wanted)).rejects.toMatchObject(unimplemented);
  expect(status.UNIMPLEMENTED).toBe(12); // what containerd goes on at
});

test('a layer that is there already is not written to', async () => {
  const encoded = await store({ chunkSize: 65536 });
  await expect(apply(request(encoded, ['ro', 'rbind']))).rejects.toMatchObject({
    status: 'FAILED_PRECONDITION',
  });
});

test('a chunk index that is a layer of its own has no files', async () => {
  const index = Buffer.from('any bytes');
  const digest = `sha256:${createHash('sha256').update(index).digest('hex')}`;
  writeFileSync(contentPath(digest), index);
  const diff = {
    media_type: 'application/vnd.erofs.chunk-index.v1',
    digest,
    size: index.length,
    annotations: {},
  };
  const mounts = [{ type: 'bind', source: join(layer, 'fs'), options: ['rw'] }];
  expect(await apply({ diff, mounts })).toMatchObject({ digest });
  expect(readFileSync(join(layer, 'layer.erofs')).readUInt32LE(1024)).toBe(0xe0f5e1e2);
});

test('the layer is synced to the disk where containerd asks for that, as with its own differs', async () => {
  const encoded = await store({ chunkSize: 65536, dmVerity: true });
  const handle = await open(join(work, 'any'), 'w');
  const files = vi.spyOn(Object.getPrototypeOf(handle) as FileHandle, 'sync');
  const folders = vi.spyOn(native.files, 'syncFolder');
  const counts = (): number[] => [files, folders].map(({ mock }) => mock.calls.length);
  try {
    await apply(request(encoded));
    expect(counts()).toEqual([0, 0]);
    rmSync(join(layer, 'layer.erofs'));
    await apply({ ...request(encoded), sync_fs: true });
    expect(counts()).toEqual([2, 2]); // image and sidecar, and the folder for each
  } finally {
    files.mockRestore();
    folders.mockRestore();
    await handle.close();
  }
});

test.each([
  ['device', 'application/vnd.oci.image.layer.v1.tar'],
  ['device', 'application/vnd.erofs'],
  ['overlay-data', 'application/vnd.erofs'],
])('a layer of role %s (%s) is nobody’s to unpack as a lower one', async (role, mediaType) => {
  const encoded = await store({ chunkSize: 65536 });
  const annotations = { ...encoded.annotations, 'org.erofs.role': role };
  const applying = apply(request({ ...encoded, mediaType, annotations }));
  await expect(applying).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  await expect(applying).rejects.toThrow(`it has the role ${role}`);
  expect(readdirSync(layer).sort()).toEqual(['.erofslayer', 'fs']);
});

test('an image whose files are on devices is not unpacked: nothing could mount it', async () => {
  const image = writeErofs([{ path: 'a', blocks: [{ device: 1, block: 0 }], size: 4096 }], {
    devices: [{ blocks: 1 }],
  });
  const digest = `sha256:${createHash('sha256').update(image).digest('hex')}`;
  writeFileSync(contentPath(digest), image);
  const diff = { media_type: 'application/vnd.erofs', digest, size: image.length, annotations: {} };
  const mounts = [{ type: 'bind', source: join(layer, 'fs'), options: ['rw'] }];
  await expect(apply({ diff, mounts })).rejects.toThrow('its files are on devices');
  expect(readdirSync(layer).sort()).toEqual(['.erofslayer', 'fs']);
});
