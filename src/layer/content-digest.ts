import { createHash } from 'node:crypto';
import { failure } from '../errors';
import { checkSameDigest, formatDigest, parseDigest, type DigestAlgorithm } from '../format/digest';
import type { ResourceOptions } from '../job';
import { native } from '../native/binding';
import { runNative } from '../native/run';
import type { BlobFile } from '../oci/store';
import { nativeSourceOf } from './native-byte-source';
import type { Descriptor } from '../oci/types';

const pieceSize = 1 << 20;

/** The digest of a whole blob. */
export async function digestOfFile(
  file: BlobFile,
  options: ResourceOptions,
  algorithm: DigestAlgorithm = 'sha256',
): Promise<string> {
  if (algorithm !== 'sha256') return digestInPieces(file, options, algorithm);
  const source = nativeSourceOf(file);
  try {
    const digest = await runNative(options, (job) => native.hashSource(source, job), file.name);
    return formatDigest('sha256', digest);
  } finally {
    source.close();
  }
}

/** Other algorithms than SHA-256 are rare in the wild: no native code for them. */
async function digestInPieces(file: BlobFile, { signal }: ResourceOptions, algorithm: DigestAlgorithm) {
  const hash = createHash(algorithm);
  for (let offset = 0; offset < file.size; offset += pieceSize) {
    hash.update(await file.read(offset, Math.min(pieceSize, file.size - offset), signal));
  }
  return formatDigest(algorithm, hash.digest());
}

/**
 * MISMATCH unless a blob has the size and the digest that its descriptor says. `known` is its SHA-256 where it was computed on the way; else, or for another
 * algorithm, the blob is read for it.
 */
export async function checkBlobDigest(
  file: BlobFile,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
  options: ResourceOptions,
  known: string | null = null,
): Promise<void> {
  if (file.size !== size)
    throw failure('MISMATCH', file.name, `${file.size} bytes, but its descriptor says ${size}`);
  const { algorithm } = parseDigest(digest, file.name);
  const actual =
    algorithm === 'sha256' && known !== null ? known : await digestOfFile(file, options, algorithm);
  checkSameDigest(file.name, digest, actual);
}
