import type { CompressedContext, CompressedInode } from './context';
import type { Extent, ExtentMap } from './extent';
import { EvenRecords, SortedRecords } from './extent-records';
import { ClusterExtents } from './extents';
import { CompactIndex } from './index-compact';
import { FullIndex } from './index-full';
import { readMapHeader } from './map-header';

/** The map of a compressed file, whichever of the format's forms it has. */
export async function openMap(context: CompressedContext, inode: CompressedInode): Promise<ExtentMap> {
  const header = await readMapHeader(context, inode);
  switch (header.kind) {
    case 'fragment': {
      const extent: Extent = { start: 0, end: inode.size, source: header };
      return { extentAt: async () => extent };
    }
    case 'extents':
      return header.recordSize <= 8
        ? new EvenRecords(context, inode, header)
        : new SortedRecords(context, inode, header);
    case 'clusters': {
      const Index = inode.layout === 'full' ? FullIndex : CompactIndex;
      return new ClusterExtents(context, inode, header, new Index(context, inode, header));
    }
  }
}
