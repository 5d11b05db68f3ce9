import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { containerdAnnotations } from '../../src/format/annotations';
import { digestOf } from '../../src/format/digest';
import { openBlob } from '../../src/layer/open-blob';
import { caught } from '../support/caught';
import { badBlobs, readGolden } from '../support/golden';
import { MemorySource } from '../support/memory-source';
import { RecordingSource } from '../support/recording-source';
import { refusal } from '../support/refusal';
import { goldenBlob } from '../support/sealed-blob';

const mib = goldenBlob('mib.c65536.v4096');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'open-blob-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('trust', () => {
  const undigested = Object.fromEntries(
    Object.entries(mib.descriptor.annotations).filter(([name]) => name !== containerdAnnotations.tableDigest),
  );

  it('warns of a bare blob, whose table it finds', async () => {
    const path = join(folder, 'bare');
    writeFileSync(path, mib.blob);
    const onWarning = vi.fn();
    const blob = await openBlob(path, { onWarning });
    expect(onWarning).toHaveBeenCalledExactlyOnceWith(expect.stringContaining('no descriptor'));
    expect(blob.name).toBe(path);
    expect((await blob.read(0, blob.size)).equals(mib.image)).toBe(true);
    await blob.close();
  });

  it('wants a digest of the table', async () => {
    const descriptor = { ...mib.descriptor, annotations: undigested };
    const source = new RecordingSource(mib.blob);
    await expect(openBlob(source, { descriptor })).rejects.toThrow(refusal('UNVERIFIED'));
    expect(source.closed).toBe(1);
    const blob = await openBlob(new MemorySource(mib.blob), { descriptor, allowUnverified: true });
    expect((await blob.read(0, 10)).equals(mib.image.subarray(0, 10))).toBe(true);
    await blob.close();
  });

  it('wants the size of the descriptor, and a table of its digest', async () => {
    const longer = new MemorySource(Buffer.concat([mib.blob, Buffer.alloc(1)]));
    await expect(openBlob(longer, { descriptor: mib.descriptor })).rejects.toThrow(
      refusal('MISMATCH', 'bytes'),
    );
    const changed = Buffer.from(mib.blob);
    changed[mib.inspect.table_offset + 100]! ^= 1;
    await expect(openBlob(new MemorySource(changed), { descriptor: mib.descriptor })).rejects.toThrow(
      refusal('MISMATCH', 'chunk table: digest'),
    );
  });

  it('warns of a table without checksums', async () => {
    const { blob, annotations } = badBlobs().find(({ name }) => name === 'hash_alg_none')!;
    const bytes = readGolden(blob);
    const onWarning = vi.fn();
    const descriptor = { digest: digestOf(bytes), size: bytes.length, annotations };
    const opened = await openBlob(new MemorySource(bytes), { descriptor, onWarning });
    expect(onWarning).toHaveBeenCalledExactlyOnceWith(expect.stringContaining('no checksums'));
    const { image } = goldenBlob('tiny.c16384.v4096');
    expect((await opened.read(0, opened.size)).equals(image)).toBe(true);
    await opened.close();
  });

  it('wants a descriptor for a URL', async () => {
    await expect(openBlob('https://user:pw@example.test/blob?x=1')).rejects.toThrow(
      refusal('USAGE', 'https://example.test/blob?…: a URL is read with a descriptor only'),
    );
    await expect(openBlob('oci:layout:tag')).rejects.toThrow(refusal('USAGE', 'names an image'));
    await expect(openBlob(join(folder, 'none'))).rejects.toThrow(refusal('NOT_FOUND'));
  });
});

it('a chunk table must lie in the blob, to the last byte', async () => {
  const { blob, descriptor, inspect } = goldenBlob('exact.c4096');
  const end = inspect.table_offset + 8 + inspect.table_payload_size;
  expect(end).toBe(blob.length);
  const cut = { ...descriptor, size: end - 1 };
  await expect(openBlob(new MemorySource(blob.subarray(0, end - 1)), { descriptor: cut })).rejects.toThrow(
    refusal('CORRUPT', "end beyond the blob's"),
  );
});

describe('bytes between the dm-verity superblock and its tree', () => {
  const offset = mib.inspect.verity!.offset + 8;

  it.each([
    ['first', offset + 512],
    ['last', offset + 4095],
  ])('must be zero: the %s', async (_, at) => {
    const changed = Buffer.from(mib.blob);
    changed[at] = 1;
    for (const descriptor of [mib.descriptor, undefined]) {
      const opened = openBlob(new MemorySource(changed), { descriptor });
      await expect(opened).rejects.toThrow(refusal('CORRUPT', 'between superblock and tree are not zero'));
    }
  });
});

/** What only the whole blob or image gives away (its digest, its DiffID, the tree): parts of these read as what they say they are. */
const beyondFrames = ['frames_swapped', 'verity_tree_flipped', 'root_mismatch'];
const hostile = badBlobs().filter(({ name }) => name !== 'hash_alg_none');

describe('hostile blobs', () => {
  it.each(hostile.filter(({ name }) => !beyondFrames.includes(name)))(
    '$name is refused, by the table or by the frame that is read',
    async ({ blob: path, annotations }) => {
      const bytes = readGolden(path);
      const descriptor = { digest: digestOf(bytes), size: bytes.length, annotations };
      const error = await caught(async () => {
        const blob = await openBlob(new MemorySource(bytes), { descriptor });
        await blob.read(0, blob.size);
      });
      expect(error.exitCode).toBe(3);
    },
  );

  it.each(['entry_sum_flipped', 'frame_byte_flipped', 'frame_xxh_flipped', 'frame_magic', 'frame_short'])(
    '%s spoils reads of its chunk alone, and each of them',
    async (name) => {
      const { blob: path, annotations } = hostile.find((entry) => entry.name === name)!;
      const bytes = readGolden(path);
      const descriptor = { digest: digestOf(bytes), size: bytes.length, annotations };
      const blob = await openBlob(new MemorySource(bytes), { descriptor });
      const size = blob.section.chunkSize!;
      const { image } = goldenBlob('tiny.c16384.v4096');
      for (let round = 0; round < 2; round++) {
        const [good, spoilt] = await Promise.all([blob.read(0, 10), caught(() => blob.read(size, 10))]);
        expect(good.equals(image.subarray(0, 10))).toBe(true);
        expect(['CORRUPT', 'MISMATCH']).toContain(spoilt.code);
        expect(spoilt.what).toContain('frame 1 at byte');
      }
      await blob.close();
    },
  );

  it.each(hostile.filter(({ name }) => beyondFrames.includes(name)))(
    '$name is beyond what frames can tell',
    async ({ blob: path, annotations }) => {
      const bytes = readGolden(path);
      const descriptor = { digest: digestOf(bytes), size: bytes.length, annotations };
      const blob = await openBlob(new MemorySource(bytes), { descriptor });
      expect(await blob.read(0, blob.size)).toHaveLength(53_248);
      await blob.close();
    },
  );
});
