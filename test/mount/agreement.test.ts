import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SeekableErofsError } from '../../src/errors';
import { digestOf } from '../../src/format/digest';
import { listImage } from '../../src/image/list';
import { verifyImage } from '../../src/image/verify';
import { openMountSource } from '../../src/mount/mount-source';
import { MountState } from '../../src/mount/state';
import { LayoutBuilder } from '../conformance/support/image';
import { goldenBlob, rawSpecBlob } from '../support/sealed-blob';

// The claim: what verify says of an image, mount, run and ls do. The kernel has no part in it: only layers are prepared.

let folder: string;
let state: MountState;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'agreement-'));
  state = await MountState.open(join(folder, 'state'));
});
afterAll(() => rm(folder, { recursive: true }));

const { blob, image, inspect, descriptor } = goldenBlob('mib.c65536.v4096');
const frames = blob.subarray(0, inspect.table_offset);
const raw = rawSpecBlob(image, 65_536);
const type = 'application/vnd.erofs.layer.v1';
const unsaid = {};

const cases: [
  what: string,
  mediaType: string,
  bytes: Buffer,
  annotations: object,
  diffId: string,
  codes: string[],
][] = [
  ['a seekable blob', `${type}+zstd`, blob, descriptor.annotations, digestOf(image), ['ok', 'ok']],
  [
    'of another DiffID',
    `${type}+zstd`,
    blob,
    descriptor.annotations,
    digestOf(blob),
    ['MISMATCH', 'MISMATCH'],
  ],
  ['a blob without annotations', `${type}+zstd`, blob, unsaid, digestOf(image), ['UNVERIFIED', 'ok']],
  ['zstd without a table', `${type}+zstd`, frames, unsaid, digestOf(image), ['UNVERIFIED', 'ok']],
  ['zstd of another DiffID', `${type}+zstd`, frames, unsaid, digestOf(blob), ['UNVERIFIED', 'MISMATCH']],
  ['a raw image', type, image, unsaid, digestOf(image), ['ok', 'ok']],
  ['a raw image of another DiffID', type, image, unsaid, digestOf(blob), ['MISMATCH', 'MISMATCH']],
  [
    'raw chunks',
    'application/vnd.erofs',
    raw.blob,
    raw.descriptor.annotations,
    digestOf(raw.blob),
    ['ok', 'ok'],
  ],
  [
    'raw chunks of their image’s DiffID',
    'application/vnd.erofs',
    raw.blob,
    raw.descriptor.annotations,
    digestOf(image),
    ['MISMATCH', 'MISMATCH'],
  ],
];

describe('verify and mount agree about', () => {
  it.each(cases)('%s', async (what, mediaType, bytes, annotations, diffId, [strict, allowed]) => {
    const builder = new LayoutBuilder(join(folder, what));
    const layer = { ...builder.put(mediaType, bytes), annotations: annotations as Record<string, string> };
    builder.name(builder.image([{ descriptor: layer, diffId }]));
    const ref = `oci:${join(folder, what)}`;
    for (const [allowUnverified, code] of [
      [false, strict],
      [true, allowed],
    ] as const) {
      expect((await verifyImage(ref, { allowUnverified })).ok).toBe(code === 'ok');
      expect(await codeOf(() => prepare(ref, allowUnverified))).toBe(code);
      // Reading parts finds out less, but refuses what nothing vouches for alike.
      const read = await codeOf(() => listImage(ref, '/', { allowUnverified }));
      expect(read === 'UNVERIFIED').toBe(code === 'UNVERIFIED');
      if (code === 'ok') expect(read).toBe('ok');
    }
  });
});

async function prepare(ref: string, allowUnverified: boolean): Promise<void> {
  const opened = await openMountSource(ref, { allowUnverified }, state);
  try {
    const key = digestOf(Buffer.from(`${ref} ${allowUnverified}`)).slice('sha256:'.length);
    await opened.layers[0]!.prepare(state, key, 'none');
  } finally {
    await opened.close();
  }
}

async function codeOf(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
    return 'ok';
  } catch (error) {
    if (!(error instanceof SeekableErofsError)) throw error;
    return error.code;
  }
}
