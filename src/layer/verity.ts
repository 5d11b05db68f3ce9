import { failure } from '../errors';
import { formatDigest } from '../format/digest';
import { isVerityBlockSize, maxSaltSize } from '../format/verity-superblock';
import type { ResourceOptions } from '../job';
import { native, type HashName } from '../native/binding';
import { runNative } from '../native/run';
import { checkOptions } from '../options';
import { openInputFile } from '../source/input-file';
import { resourcesOf } from './resources';

/** Shape of a Merkle tree; hash type 1, data and hash blocks of one size (docs/format/verity.md). */
export interface VerityOptions extends ResourceOptions {
  /** Default: sha512. */
  algorithm?: HashName | undefined;
  /** Bytes, a power of two from 512 to 524288; default: 4096. */
  blockSize?: number | undefined;
  /** At most 256 bytes, hashed before each block; default: none. */
  salt?: Uint8Array | undefined;
}

/** A Merkle tree without its superblock. */
export interface VerityTree {
  /** `sha512:…` or `sha256:…`. */
  rootDigest: string;
  /** Root level first; empty for one block. */
  tree: Buffer;
  /** Blocks of data, the last padded with zeros. */
  dataBlocks: number;
}

/**
 * The dm-verity tree of a file. USAGE for an empty file and for shapes that the kernel has not. The tree (1/63 of the data with
 * SHA-512) is returned in memory; encodeLayer() does without that.
 */
export async function verityTree(path: string, options: VerityOptions = {}): Promise<VerityTree> {
  checkOptions('verityTree', options);
  return withTree(path, options, async ({ tree, root, dataBlocks }, algorithm) => ({
    rootDigest: formatDigest(algorithm, root),
    tree: await tree.read(0, tree.size),
    dataBlocks,
  }));
}

/** The root digest of a file's dm-verity tree, `sha512:…` or `sha256:…`. Errors as of verityTree(). */
export async function verityRoot(path: string, options: VerityOptions = {}): Promise<string> {
  checkOptions('verityRoot', options);
  return withTree(path, options, async ({ root }, algorithm) => formatDigest(algorithm, root));
}

type NativeTree = Awaited<ReturnType<typeof native.verityTree>>;

async function withTree<T>(
  path: string,
  options: VerityOptions,
  use: (tree: NativeTree, algorithm: HashName) => Promise<T>,
): Promise<T> {
  const { algorithm = 'sha512', blockSize = 4096, salt = new Uint8Array() } = options;
  if (!isVerityBlockSize(blockSize)) throw failure('USAGE', 'dm-verity block size', `${blockSize} is none`);
  if (salt.length > maxSaltSize) throw failure('USAGE', 'dm-verity salt', `more than ${maxSaltSize} bytes`);
  const parameters = { algorithm, dataBlockSize: blockSize, hashBlockSize: blockSize, salt };
  const { threads, tmpDir } = resourcesOf(options);
  const file = await openInputFile(path, options);
  const source = new native.Source(file);
  try {
    const built = await runNative(
      options,
      (job) => native.verityTree(source, parameters, { threads, tmpDir }, job),
      path,
    );
    try {
      return await use(built, algorithm);
    } finally {
      built.tree.close();
    }
  } finally {
    source.close();
    await file.close();
  }
}
