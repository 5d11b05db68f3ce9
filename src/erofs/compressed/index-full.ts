import type { CompressedContext, CompressedInode } from './context';
import { IndexWindow } from './index-window';
import { blockCountBit, lclusterType, type Lcluster, type LclusterIndex } from './lcluster';
import type { ClusterHeader } from './map-header';

const entrySize = 8;
const partialBit = 1 << 15;

/** The index of layout 1: 8 bytes for each logical cluster. */
export class FullIndex implements LclusterIndex {
  readonly #window: IndexWindow;

  constructor(
    context: CompressedContext,
    inode: CompressedInode,
    private readonly header: ClusterHeader,
  ) {
    const count = Math.ceil(inode.size / 2 ** header.lclusterBits);
    this.#window = new IndexWindow(context, header.indexStart, header.indexStart + count * entrySize);
  }

  async load(number: number): Promise<Lcluster> {
    const offset = this.header.indexStart + number * entrySize;
    const bytes = await this.#window.from(offset);
    const advise = bytes.readUInt16LE(0);
    const isNonhead = (advise & 3) === lclusterType.nonhead;
    const distance = bytes.readUInt16LE(4);
    const hasBlocks = isNonhead && (distance & blockCountBit) !== 0;
    return {
      type: advise & 3,
      clusterOffset: bytes.readUInt16LE(2),
      block: bytes.readUInt32LE(4),
      partial: !isNonhead && (advise & partialBit) !== 0,
      distance: hasBlocks ? 1 : distance,
      blocks: hasBlocks ? distance & ~blockCountBit : 0,
      end: offset + entrySize,
    };
  }
}
