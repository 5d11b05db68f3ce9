/** What begins in a logical cluster: stored bytes, an extent of either algorithm, or nothing (it continues one). */
export const lclusterType = { plain: 0, head1: 1, nonhead: 2, head2: 3 } as const;

/** One entry of an index of logical clusters. */
export interface Lcluster {
  /** One of lclusterType. */
  type: number;
  /** Heads: where in the logical cluster the extent begins. */
  clusterOffset: number;
  /** Heads: the first physical block. */
  block: number;
  /** Heads: the extent uses only the first bytes of what its physical cluster decodes to. */
  partial: boolean;
  /** Nonheads: logical clusters back to the head, or to a nonhead nearer to it. */
  distance: number;
  /** Nonheads: blocks of the physical cluster, where the entry holds that; else 0. */
  blocks: number;
  /** Where the entry, or the pack that holds it, ends. */
  end: number;
}

/** The bit of a nonhead's distance that makes it a number of blocks. */
export const blockCountBit = 1 << 11;

/** Reads entries of an index; `number` is below the number of logical clusters in the file. */
export interface LclusterIndex {
  load(number: number): Promise<Lcluster>;
}
