import { failure } from '../errors';
import { checkDigestOf } from '../format/digest';
import type { Descriptor } from '../oci/types';

/** MISMATCH unless `bytes` are those that `descriptor` promises. */
export function checkContent({ digest, size }: Descriptor, bytes: Uint8Array): void {
  checkSize(digest, size, bytes.length);
  checkDigestOf(digest, digest, bytes);
}

/** MISMATCH unless a blob has the size that its descriptor says. */
export function checkSize(digest: string, expected: number, actual: number): void {
  if (expected === actual) return;
  throw failure('MISMATCH', `blob ${digest}`, `${actual} bytes, its descriptor says ${expected}`);
}
