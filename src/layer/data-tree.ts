import { checkSameDigest, formatDigest } from '../format/digest';
import type { VeritySuperblock } from '../format/verity-superblock';
import type { ResourceOptions } from '../job';
import { native } from '../native/binding';
import { runNative } from '../native/run';
import { resourcesOf } from './resources';

/** MISMATCH unless the dm-verity tree over the data at the beginning of an open file has the root digest: all blocks at once. */
export async function checkDataTree(
  { fd, name }: { fd: number; name: string },
  {
    superblock,
    rootDigest,
  }: {
    superblock: Pick<
      VeritySuperblock,
      'algorithm' | 'dataBlockSize' | 'hashBlockSize' | 'dataBlocks' | 'salt'
    >;
    rootDigest: string;
  },
  options: ResourceOptions,
): Promise<void> {
  const { algorithm, dataBlockSize, hashBlockSize, dataBlocks, salt } = superblock;
  const source = new native.Source({ fd, name, offset: 0, size: dataBlocks * dataBlockSize });
  try {
    const shape = { algorithm, dataBlockSize, hashBlockSize, salt };
    const { tree, root } = await runNative(
      options,
      (job) => native.verityTree(source, shape, resourcesOf(options), job),
      name,
    );
    tree.close();
    checkSameDigest(`${name}: dm-verity root`, rootDigest, formatDigest(algorithm, root));
  } finally {
    source.close();
  }
}
