import { failure } from '../errors';
import { writeFully } from '../fs/write-fully';
import type { JobOptions } from '../job';
import { native } from '../native/binding';
import { runNative } from '../native/run';
import { verityHead, verityParameters, type VeritySettings } from './verity-payload';

/** A file that begins with an image of `size` bytes. */
interface ImageFile {
  fd: number;
  name: string;
  size: number;
}

interface AppendOptions extends JobOptions {
  /** Where trees that are too large for memory wait. */
  tmpDir: string;
  /** Runs what as many threads as there are pieces could do, with those that it may have. */
  compute: <T>(pieces: number, work: (threads: number) => Promise<T>) => Promise<T>;
}

/** Pads an image to a block, and puts superblock and tree behind it; gives what its sidecar says. USAGE for an image of 0 bytes. */
export async function appendTree(
  { fd, name, size }: ImageFile,
  settings: VeritySettings,
  { tmpDir, compute, ...job }: AppendOptions,
): Promise<{ rootDigest: string; hashOffset: number }> {
  if (size === 0) throw failure('USAGE', 'dm-verity', 'an image of 0 bytes has no tree');
  const image = new native.Source({ fd, offset: 0, size, name });
  const make = (threads: number) =>
    runNative(job, (own) => native.verityTree(image, verityParameters(settings), { threads, tmpDir }, own));
  const tree = await compute(Math.ceil(size / (1 << 20)), make).finally(() => {
    image.close();
  });
  try {
    const { rootDigest, head } = verityHead(settings, tree);
    const hashOffset = tree.dataBlocks * settings.blockSize;
    await writeFully(fd, head, hashOffset);
    const target = { fd, name, offset: hashOffset + head.length };
    await runNative(job, (own) => native.writeSource(tree.tree, target, { threads: 1 }, own));
    return { rootDigest, hashOffset };
  } finally {
    tree.tree.close();
  }
}
