import type { VeritySuperblock } from '../format/verity-superblock';

/** What dm-verity needs to know of a layer: where the root level of its tree is, in bytes of the device, and what is in the superblock. */
interface Verity {
  superblock: Pick<
    VeritySuperblock,
    'algorithm' | 'dataBlockSize' | 'hashBlockSize' | 'dataBlocks' | 'salt' | 'uuid'
  >;
  rootDigest: string;
  treeOffset: number;
}

/** The same as JSON has it: salt and UUID in hexadecimal. */
export interface PlainVerity extends Omit<Verity, 'superblock'> {
  superblock: Omit<Verity['superblock'], 'salt' | 'uuid'> & { salt: string; uuid: string };
}

/** For JSON. */
export function plainVerity({ superblock, rootDigest, treeOffset }: Verity): PlainVerity {
  const { algorithm, dataBlockSize, hashBlockSize, dataBlocks, salt, uuid } = superblock;
  const texts = { salt: Buffer.from(salt).toString('hex'), uuid: Buffer.from(uuid).toString('hex') };
  return {
    superblock: { algorithm, dataBlockSize, hashBlockSize, dataBlocks, ...texts },
    rootDigest,
    treeOffset,
  };
}

/** What plainVerity() was made of. */
export function verityOf({ superblock, rootDigest, treeOffset }: PlainVerity): Verity {
  const { salt, uuid } = superblock;
  return {
    superblock: { ...superblock, salt: Buffer.from(salt, 'hex'), uuid: Buffer.from(uuid, 'hex') },
    rootDigest,
    treeOffset,
  };
}
