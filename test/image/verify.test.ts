import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { containerdAnnotations } from '../../src/format/annotations';
import { digestOf } from '../../src/format/digest';
import { verifyImage } from '../../src/image/verify';
import { goldenBlob } from '../support/sealed-blob';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'verify-'));
});
afterAll(() => rm(folder, { recursive: true }));

const mediaType = 'application/vnd.erofs.layer.v1+zstd';

/** Verifies a blob against a descriptor with these annotations, which is right otherwise. */
async function verifyBlob(blob: Buffer, annotations: Record<string, string>) {
  const path = join(folder, 'blob');
  await writeFile(path, blob);
  const descriptor = { mediaType, digest: digestOf(blob), size: blob.length, annotations };
  return verifyImage(path, { descriptor });
}

describe('a blob that the reference refuses', () => {
  const { blob, descriptor, inspect } = goldenBlob('mib.c65536.v4096');
  const { annotations } = descriptor;
  const table = blob.subarray(inspect.table_offset + 8).subarray(0, inspect.table_payload_size);

  it('has a table digest that is not of SHA-512', async () => {
    const sha256 = { ...annotations, [containerdAnnotations.tableDigest]: digestOf(table) };
    expect(await verifyBlob(blob, annotations)).toMatchObject({ ok: true });
    const { ok, layers } = await verifyBlob(blob, sha256);
    expect([ok, layers[0]!.error]).toEqual([false, expect.stringContaining('no sha512')]);
  });

  it('has a dm-verity superblock whose UUID is zero', async () => {
    const nil = Buffer.from(blob);
    nil.fill(0, inspect.verity!.offset + 8 + 16, inspect.verity!.offset + 8 + 32);
    for (const said of [annotations, withoutTree(annotations)]) {
      const { ok, layers } = await verifyBlob(nil, said);
      expect([ok, layers[0]!.error]).toEqual([false, expect.stringContaining('UUID')]);
    }
  });
});

function withoutTree(annotations: Record<string, string>): Record<string, string> {
  const { verityOffset, verityRoot } = containerdAnnotations;
  const kept = Object.entries(annotations).filter(([name]) => name !== verityOffset && name !== verityRoot);
  return Object.fromEntries(kept);
}
