import { createHash } from 'node:crypto';

/** What makes two uses of a layer the same: not its DiffID alone, which leaves the tree out. */
interface LayerIdentity {
  diffId: string;
  /** Of a tree that the kernel checks, else null. */
  rootDigest: string | null;
  /** Optional arguments of dm-verity. */
  extra: readonly string[];
  /** Of files that are mounted where they lie: which they are. */
  files: readonly string[];
}

/** To be raised when what is kept under a key changes (decoded images, stores of lazy layers): what is of another version is never read. */
const keyVersion = 1;

/** The name of a layer in the state folder. */
export function mountKey({ diffId, rootDigest, extra, files }: LayerIdentity): string {
  return createHash('sha256')
    .update(JSON.stringify([keyVersion, diffId, rootDigest, extra, files]))
    .digest('hex');
}
