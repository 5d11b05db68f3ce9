import type { CompressedContext, CompressedInode } from './context';
import { corrupt, maxDecoded, maxEncoded } from './limits';

/** How an extent is stored: as algorithm 0..3 left it, as it is, or as it is but rotated within its blocks. */
export type Format = 'lz4' | 'lzma' | 'deflate' | 'zstd' | 'plain' | 'interlaced';

const formats = ['lz4', 'lzma', 'deflate', 'zstd'] as const;

/** Where stored bytes lie: in the block address space, or in the metadata area. */
export interface Encoded {
  kind: 'encoded';
  area: 'data' | 'metadata';
  offset: number;
  length: number;
  format: Format;
  /** The extent may be only the beginning of what the stored bytes decode to. */
  partial: boolean;
}

export type ExtentSource = { kind: 'hole' } | { kind: 'fragment'; offset: number } | Encoded;

/** Bytes [start, end) of a file that come from one place. */
export interface Extent {
  start: number;
  end: number;
  source: ExtentSource;
}

/** Finds the extents of a file. */
export interface ExtentMap {
  /** The extent that holds byte `position`, which is inside of the file. CORRUPT when the map makes no sense there. */
  extentAt(position: number): Promise<Extent>;
}

/** The format of algorithm `number` of the format; CORRUPT when the superblock does not know of it. */
export function formatOf(context: CompressedContext, inode: CompressedInode, number: number): Format {
  const format = formats[number];
  if (format !== undefined && (context.algorithms.available & (1 << number)) !== 0) return format;
  throw corrupt(context, inode, `uses compression algorithm ${number}, which the superblock does not name`);
}

/** The extent, if the format allows its sizes; else CORRUPT. */
export function checkedExtent(context: CompressedContext, inode: CompressedInode, extent: Extent): Extent {
  const { start, end, source } = extent;
  if (source.kind !== 'encoded') return extent;
  const decoded = end - start;
  const isStored = source.format === 'plain' || source.format === 'interlaced';
  const fits =
    source.length <= maxEncoded && decoded <= maxDecoded && (!isStored || decoded <= source.length);
  if (fits && Number.isSafeInteger(source.offset + source.length)) return extent;
  const sizes = `${source.length} bytes at ${source.offset} (${source.format}) for ${decoded}`;
  throw corrupt(context, inode, `the extent at byte ${start} has sizes that no extent can have: ${sizes}`);
}
