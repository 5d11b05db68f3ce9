import { randomBytes } from 'node:crypto';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { verityTree } from '../../src/layer/verity';
import { serializeVeritySuperblock } from '../../src/format/verity-superblock';
import { openRawFile } from '../../src/mount/raw-file';
import type { VerityMode } from '../../src/mount/plan';
import type { MountState } from '../../src/mount/state';
import { openFileSource } from '../../src/source/file';
import { at, put, useFolders } from '../e2e/workspace';
import { sha256 } from '../e2e/sample';
import { refusal } from '../support/refusal';

useFolders();

const blocks = 130;
let data: Buffer;
let hashOffset: number;
beforeEach(async () => {
  data = randomBytes(blocks * 4096);
  hashOffset = data.length;
  const { rootDigest, tree } = await verityTree(await put('data', data), { algorithm: 'sha256' });
  const shape = { hashType: 1, algorithm: 'sha256', dataBlockSize: 4096, hashBlockSize: 4096 } as const;
  const uuid = new Uint8Array(16).fill(1);
  const superblock = Buffer.alloc(4096);
  superblock.set(serializeVeritySuperblock({ ...shape, uuid, dataBlocks: blocks, salt: new Uint8Array() }));
  await put('image', Buffer.concat([data, superblock, tree]));
  await writeSidecar(rootDigest.slice(7));
});

const writeSidecar = (roothash: string, hashoffset = hashOffset): Promise<string> =>
  put('image.dmverity', JSON.stringify({ roothash, hashoffset }));

async function flip(offset: number): Promise<void> {
  const bytes = await readFile(at('image'));
  bytes[offset]! ^= 1;
  await writeFile(at('image'), bytes);
}

async function prepare(mode: VerityMode) {
  const file = await openFileSource(at('image'));
  try {
    const layer = await openRawFile(file, at('image'), {});
    return { layer, content: await layer.prepare(null as unknown as MountState, '', mode) };
  } finally {
    await file.close();
  }
}

describe('a raw image with a sidecar', () => {
  test('is protected by what the sidecar says; its DiffID is of the image alone', async () => {
    const { layer, content } = await prepare('kernel');
    expect(layer).toMatchObject({ tree: 'vouched', diffId: sha256(data) });
    expect(content.files).toEqual([at('image')]);
    expect(content.verity).toMatchObject({ rootDigest: layer.rootDigest, treeOffset: hashOffset + 4096 });
    expect((await prepare('userspace')).content.verity).toBeNull();
  });

  test('another root than that of the tree is MISMATCH before anything is mounted', async () => {
    await writeSidecar('ab'.repeat(32));
    await expect(prepare('kernel')).rejects.toThrow(refusal('MISMATCH', 'dm-verity root'));
  });

  test('one byte of the top of the tree, of the superblock: refused', async () => {
    await flip(hashOffset + 4096 + 7);
    await expect(prepare('kernel')).rejects.toThrow(refusal('MISMATCH', 'dm-verity root'));
    await flip(hashOffset + 4096 + 7);
    await prepare('kernel');
    for (const offset of [0, 8, 12, 33, 65, 69, 72, 80, 88, 400]) {
      await flip(hashOffset + offset);
      await expect(prepare('kernel'), `byte ${offset}`).rejects.toThrow(
        refusal([72, 80].includes(offset) ? 'MISMATCH' : 'CORRUPT'),
      );
      await flip(hashOffset + offset);
    }
  });

  test('one byte of data is for the kernel to find, or for the check of the whole tree', async () => {
    await flip(77 * 4096 + 5);
    await prepare('kernel');
    await expect(prepare('userspace')).rejects.toThrow(refusal('MISMATCH', 'dm-verity root'));
  });

  test('sidecars that point beyond the file, or are none', async () => {
    for (const offset of [hashOffset * 2, 2 ** 52, hashOffset + 4096]) {
      await writeSidecar('ab'.repeat(32), offset);
      await expect(prepare('kernel')).rejects.toThrow(refusal('CORRUPT'));
    }
    await put('image.dmverity', 'x');
    await expect(prepare('kernel')).rejects.toThrow(refusal('CORRUPT', 'image.dmverity'));
    await put('image.dmverity', Buffer.alloc(70_000, ' '));
    await expect(prepare('kernel')).rejects.toThrow(refusal('CORRUPT', 'too large'));
  });

  test('a file cut short', async () => {
    await truncate(at('image'), hashOffset + 4096 + 4096);
    await expect(prepare('kernel')).rejects.toThrow(refusal('CORRUPT'));
  });
});
