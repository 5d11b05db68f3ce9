import { createHash } from 'node:crypto';

import { failure } from '../errors';

/** Algorithms that digests are of. */
export type DigestAlgorithm = 'sha256' | 'sha512';

/** Bytes of a digest of each algorithm. */
export const digestSizes: Readonly<Record<DigestAlgorithm, 32 | 64>> = { sha256: 32, sha512: 64 };

/** An OCI digest taken apart. */
interface Digest {
  algorithm: DigestAlgorithm;
  /** Lower case, exactly as long as the algorithm makes it. */
  hex: string;
}

const digestPattern = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Whether `text` is a digest that this package can check: `sha256:` or `sha512:` and lower-case hex. */
export function isDigest(text: string): boolean {
  return digestPattern.test(text);
}

/** Takes a digest apart. CORRUPT, about `what`, when it isn't one that this package can check. */
export function parseDigest(text: string, what = 'digest'): Digest {
  if (!isDigest(text)) {
    throw failure(
      'CORRUPT',
      what,
      `"${text.slice(0, 160)}" is no digest`,
      'sha256: or sha512: and lower-case hex',
    );
  }
  return { algorithm: text.startsWith('sha256') ? 'sha256' : 'sha512', hex: text.slice('shaNNN:'.length) };
}

/** The digest string of a hash. USAGE when its length is not the algorithm's. */
export function formatDigest(algorithm: DigestAlgorithm, hash: Uint8Array): string {
  if (hash.length !== digestSizes[algorithm]) {
    throw failure('USAGE', 'digest', `${hash.length} bytes are no ${algorithm}`);
  }
  return `${algorithm}:${Buffer.from(hash).toString('hex')}`;
}

/** The bytes that a digest string stands for. CORRUPT as in parseDigest(). */
export function digestBytes(text: string, what?: string): Buffer {
  return Buffer.from(parseDigest(text, what).hex, 'hex');
}

/** The digest of bytes in memory. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/** MISMATCH, about `what`, unless both digests are the same. */
export function checkSameDigest(what: string, expected: string, actual: string): void {
  if (expected !== actual) throw failure('MISMATCH', what, `digest is ${actual}, expected ${expected}`);
}

/** MISMATCH, about `what`, unless `bytes` have the digest `expected`, by its own algorithm. */
export function checkDigestOf(what: string, expected: string, bytes: Uint8Array): void {
  checkSameDigest(what, expected, digestOf(bytes, parseDigest(expected, what).algorithm));
}
