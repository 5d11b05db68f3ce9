import { failure } from '../errors';
import { chunkIndexMagic } from '../format/chunk-index';
import { chunkTableMagic } from '../format/chunk-table';
import type { Profile } from '../format/profiles';
import { isSkippableMagic, parseSkippableHeader, skippableHeaderSize } from '../format/skippable-frame';
import {
  maxZstdHeaderSize,
  parseZstdBlockHeader,
  parseZstdFrameHeader,
  zstdBlockHeaderSize,
} from '../format/zstd-frame';
import type { ByteSource } from '../source/byte-source';
import { ReadWindow } from './read-window';

const checksumSize = 4;
const tableMagicSize = 4;
const profileOfMagic = new Map<number, Profile>([
  [chunkTableMagic, 'containerd'],
  [chunkIndexMagic, 'erofs-image-spec'],
]);

/** The frame of a chunk table or of a chunk index in a blob. */
interface TableFrame {
  /** Of the skippable frame's header. */
  offset: number;
  payloadSize: number;
  profile: Profile;
}

/**
 * Walks the zstd frames of a blob to the first skippable frame whose payload begins as a table or an index does; null when there is none.
 * CORRUPT when something else than a frame is met, or a frame is cut short. Reads the headers of blocks only, in time linear in the size.
 */
export async function findTableFrame(source: ByteSource, signal?: AbortSignal): Promise<TableFrame | null> {
  const window = new ReadWindow(source, source.size, signal);
  for (let offset = 0; offset < source.size;) {
    const bytes = await window.atMost(offset, skippableHeaderSize + tableMagicSize);
    if (bytes.length < 4 || !isSkippableMagic(bytes.readUInt32LE(0))) {
      offset = await passFrame(window, offset);
      continue;
    }
    const { payloadSize } = parseSkippableHeader(bytes, frameName(source, offset));
    if (payloadSize > source.size - offset - skippableHeaderSize) {
      throw failure(
        'CORRUPT',
        frameName(source, offset),
        `its payload of ${payloadSize} bytes ends beyond the blob`,
      );
    }
    const profile =
      payloadSize < tableMagicSize ? undefined : profileOfMagic.get(bytes.readUInt32LE(skippableHeaderSize));
    if (profile !== undefined) return { offset, payloadSize, profile };
    offset += skippableHeaderSize + payloadSize;
  }
  return null;
}

/** Where the zstd frame at `offset` ends. CORRUPT when there is none, or when it does not end before `limit`, an offset in `source`. */
export async function frameEnd(
  source: ByteSource,
  offset: number,
  limit: number,
  signal?: AbortSignal,
): Promise<number> {
  return passFrame(new ReadWindow(source, limit, signal), offset);
}

async function passFrame(window: ReadWindow, start: number): Promise<number> {
  const name = frameName(window.source, start);
  const header = parseZstdFrameHeader(await window.atMost(start, maxZstdHeaderSize), name);
  let position = start + header.headerSize;
  for (let last = false; !last;) {
    // Awaiting only where bytes are missing: a hostile blob may be made of blocks of 3 bytes.
    let at = window.indexOf(position, zstdBlockHeaderSize);
    if (at === null) {
      await window.load(position, zstdBlockHeaderSize);
      at = window.indexOf(position, zstdBlockHeaderSize);
    }
    if (at === null)
      throw failure('CORRUPT', name, `it is cut short: a block header is missing at ${position}`);
    const block = parseZstdBlockHeader(window.bytes, at, header.maxBlockSize, name);
    position += zstdBlockHeaderSize + block.storedSize;
    last = block.last;
  }
  if (header.hasChecksum) position += checksumSize;
  if (position > window.limit) {
    throw failure('CORRUPT', name, `it ends at ${position}, but its bytes end at ${window.limit}`);
  }
  return position;
}

function frameName(source: ByteSource, offset: number): string {
  return `${source.name}, zstd frame at offset ${offset}`;
}
