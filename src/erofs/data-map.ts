import { corrupt, unsupported, type Inode } from './inode';

/** A run of bytes of an uncompressed file that lie together. */
export interface Extent {
  /** Bytes of the file. */
  offset: number;
  length: number;
  /** `inline`: `address` is an offset in the inode's metadata area; `blocks`: in the address space of `device`. */
  kind: 'hole' | 'inline' | 'blocks';
  device: number;
  address: number;
}

/** Where the chunk map of a file lies and what its entries look like. Sizes in bytes. */
interface ChunkMap {
  start: number;
  entrySize: 4 | 8;
  wide: boolean;
  chunkSize: number;
}

/** What the extents of an image depend on, besides the inode. */
export interface MapContext {
  blockSize: number;
  extraDevices: number;
}

/**
 * The extents of [from, to) of an uncompressed file, in order, neighbours joined. CORRUPT when the map is not inside of the metadata, or
 * an inline tail crosses a block. Addresses are not checked here.
 */
export async function* extentsOf(
  context: MapContext,
  inode: Inode,
  from: number,
  to: number,
): AsyncGenerator<Extent, void, undefined> {
  if (from >= to) return;
  if (inode.layout === 'chunks') {
    yield* joined(chunks(context, inode, from, to));
  } else {
    for (const extent of flatExtents(context.blockSize, inode)) {
      const start = Math.max(from, extent.offset);
      const end = Math.min(to, extent.offset + extent.length);
      if (start < end) yield cut(extent, start, end);
    }
  }
}

function cut(extent: Extent, start: number, end: number): Extent {
  const address = extent.kind === 'hole' ? 0 : extent.address + start - extent.offset;
  return { ...extent, offset: start, length: end - start, address };
}

/** Whole blocks at the start block, then, of inline files, the rest behind the inode. */
export function flatExtents(blockSize: number, inode: Inode): Extent[] {
  const { size, startBlock, layout } = inode;
  if (startBlock === null) return [{ offset: 0, length: size, kind: 'hole', device: 0, address: 0 }];
  const blocks: Extent = {
    offset: 0,
    length: size,
    kind: 'blocks',
    device: 0,
    address: startBlock * blockSize,
  };
  if (layout !== 'inline' || size === 0) return [blocks];
  blocks.length = (Math.ceil(size / blockSize) - 1) * blockSize;
  const length = size - blocks.length;
  if ((inode.bodyEnd % blockSize) + length > blockSize) {
    throw corrupt(inode.area.name, inode.nid, `its inline tail of ${length} bytes crosses a block`);
  }
  return [blocks, { offset: blocks.length, length, kind: 'inline', device: 0, address: inode.bodyEnd }];
}

async function* chunks(
  context: MapContext,
  inode: Inode,
  from: number,
  to: number,
): AsyncGenerator<Extent, void, undefined> {
  const map = chunkMap(context, inode);
  const { area } = inode;
  for (let index = Math.floor(from / map.chunkSize); index * map.chunkSize < to; index++) {
    const position = map.start + index * map.entrySize;
    // Asked for one by one, but nearly always in memory.
    const entry = area.peek(position, map.entrySize) ?? (await area.read(position, map.entrySize));
    const offset = index * map.chunkSize;
    const end = Math.min(offset + map.chunkSize, inode.size);
    const extent = { offset, length: end - offset, ...chunkPlace(context, map, entry) };
    yield cut(extent, Math.max(from, offset), Math.min(to, end));
  }
}

function chunkMap({ blockSize }: MapContext, inode: Inode): ChunkMap {
  const { chunkFormat, area, nid, size } = inode;
  if (chunkFormat >= 0x80) {
    throw unsupported(area.name, nid, `unknown chunk format 0x${chunkFormat.toString(16)}`);
  }
  const entrySize = (chunkFormat & 0x20) === 0 ? 4 : 8;
  const chunkSize = blockSize * 2 ** (chunkFormat & 0x1f);
  const start = Math.ceil(inode.bodyEnd / entrySize) * entrySize;
  const count = Math.ceil(size / chunkSize);
  if (start + count * entrySize > area.size) {
    throw corrupt(
      area.name,
      nid,
      `its map of ${count} chunks at offset ${start} ends beyond ${area.size} bytes`,
    );
  }
  return { start, entrySize, wide: (chunkFormat & 0x40) !== 0, chunkSize };
}

type ExtentPlace = Pick<Extent, 'kind' | 'device' | 'address'>;
const hole: ExtentPlace = { kind: 'hole', device: 0, address: 0 };

function chunkPlace({ blockSize, extraDevices }: MapContext, map: ChunkMap, entry: Buffer): ExtentPlace {
  const low = entry.readUInt32LE(map.entrySize - 4);
  if (map.entrySize === 4) {
    return low === 0xffff_ffff ? hole : { kind: 'blocks', device: 0, address: low * blockSize };
  }
  const high = map.wide ? entry.readUInt16LE(0) : 0;
  if (low === 0xffff_ffff && (!map.wide || high === 0xffff)) return hole;
  // Kernels mask the number by the next power of two above the number of devices.
  const mask = 2 ** Math.ceil(Math.log2(extraDevices + 1)) - 1;
  const device = entry.readUInt16LE(2) & mask;
  return { kind: 'blocks', device, address: (low + high * 2 ** 32) * blockSize };
}

/** Runs of extents where each goes on where the one before ends. */
async function* joined(extents: AsyncIterable<Extent>): AsyncGenerator<Extent, void, undefined> {
  let run: Extent | undefined;
  for await (const extent of extents) {
    if (run !== undefined && continues(run, extent)) {
      run.length += extent.length;
    } else {
      if (run !== undefined) yield run;
      run = extent;
    }
  }
  if (run !== undefined) yield run;
}

function continues(run: Extent, next: Extent): boolean {
  if (run.kind !== next.kind) return false;
  return run.kind === 'hole' || (run.device === next.device && run.address + run.length === next.address);
}
