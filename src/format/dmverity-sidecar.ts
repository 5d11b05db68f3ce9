import { failure } from '../errors';
import { parseDigest } from './digest';
import { parseJson } from './json';
import type { VeritySuperblock } from './verity-superblock';

/** What containerd's `layer.erofs.dmverity` says about the file beside it. */
export interface DmveritySidecar {
  /** `sha256:hex` or `sha512:hex`; the file has the hex alone. */
  rootDigest: string;
  /** Where the dm-verity superblock begins in `layer.erofs`. */
  hashOffset: number;
}

/** The trees that containerd makes. Its erofs snapshotter (2.4.2) opens no other ones, and fails to mount a layer whose sidecar leads to one. */
export const containerdTree = {
  algorithm: 'sha256',
  blockSize: 4096,
  salt: new Uint8Array(32),
} as const;

/** Whether containerd opens a tree. */
export function isContainerdTree(
  superblock: Pick<VeritySuperblock, 'algorithm' | 'dataBlockSize' | 'hashBlockSize'>,
): boolean {
  const { algorithm, dataBlockSize, hashBlockSize } = superblock;
  const { blockSize } = containerdTree;
  return algorithm === containerdTree.algorithm && dataBlockSize === blockSize && hashBlockSize === blockSize;
}

/** More bytes than any sidecar has: it has two members. */
export const maxSidecarSize = 64 << 10;

const algorithmOfLength: Readonly<Record<number, string>> = { 64: 'sha256', 128: 'sha512' };

/** The text of the sidecar file, the same as containerd writes it. */
export function serializeDmveritySidecar({ rootDigest, hashOffset }: DmveritySidecar): string {
  const roothash = parseDigest(rootDigest, 'root digest').hex;
  return `${JSON.stringify({ roothash, hashoffset: hashOffset }, null, 2)}\n`;
}

/** Parses a sidecar file; members that it doesn't know are ignored. CORRUPT, about `what`, when it is no such file. */
export function parseDmveritySidecar(text: string, what = '.dmverity file'): DmveritySidecar {
  const { roothash, hashoffset } = parseObject(text, what);
  const algorithm = typeof roothash === 'string' ? algorithmOfLength[roothash.length] : undefined;
  if (algorithm === undefined) {
    throw failure('CORRUPT', what, 'roothash is neither 64 nor 128 hex digits');
  }
  const rootDigest = `${algorithm}:${roothash as string}`;
  parseDigest(rootDigest, `${what}, roothash`);
  if (typeof hashoffset !== 'number' || !Number.isSafeInteger(hashoffset) || hashoffset < 0) {
    throw failure('CORRUPT', what, `hashoffset is ${String(hashoffset)}, no offset`);
  }
  return { rootDigest, hashOffset: hashoffset };
}

function parseObject(text: string, what: string): { roothash?: unknown; hashoffset?: unknown } {
  let value: unknown;
  try {
    value = parseJson(Buffer.from(text), what, maxSidecarSize);
  } catch (error) {
    throw failure('CORRUPT', what, `no JSON: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null) throw failure('CORRUPT', what, 'no JSON object');
  return value;
}
