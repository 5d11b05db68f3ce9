import { formatDigest } from '../format/digest';
import type { EncodeSettings } from '../format/profiles';
import { serializeVeritySuperblock } from '../format/verity-superblock';
import { verityTreeOffset } from '../format/verity-tree-size';
import { native, type NativeSource, type VerityParameters } from '../native/binding';

/** How a tree is made. */
export type VeritySettings = NonNullable<EncodeSettings['verity']>;

/** A Merkle tree as native code makes it. */
interface NativeTree {
  tree: NativeSource;
  root: Uint8Array;
  dataBlocks: number;
}

/** The tree's shape, for native code. */
export function verityParameters({ algorithm, blockSize, salt }: VeritySettings): VerityParameters {
  return { algorithm, dataBlockSize: blockSize, hashBlockSize: blockSize, salt };
}

/** What stands before a tree, superblock and zeros up to a hash block, and the root digest. */
export function verityHead(
  { algorithm, blockSize, salt }: VeritySettings,
  { root, dataBlocks }: NativeTree,
): { rootDigest: string; head: Buffer } {
  const rootDigest = formatDigest(algorithm, root);
  const head = Buffer.alloc(verityTreeOffset(blockSize));
  head.set(
    serializeVeritySuperblock({
      hashType: 1,
      // Some readers refuse a UUID of zeros, and one by chance would make no two blobs the same.
      uuid: native.uuid5(`erofs:verity/${rootDigest}`),
      algorithm,
      dataBlockSize: blockSize,
      hashBlockSize: blockSize,
      dataBlocks,
      salt,
    }),
  );
  return { rootDigest, head };
}
