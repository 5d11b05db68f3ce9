import { native, type FrameOptions, type FrameTable, type NativeSource } from '../native/binding';
import { fromNativeError } from '../native/native-error';
import { allocateRead, checkAllocation, checkRange } from '../source/range';
import type { ByteSource } from '../source/byte-source';

/** Decoded bytes that a long read asks for at once, unless a single chunk has more. */
const batchSize = 64 << 20;

/** Index of the chunk that holds byte `position` of the decoded bytes. */
export function chunkAt(starts: Float64Array, position: number): number {
  let low = 0;
  let high = starts.length - 1; // chunk `low` begins at or before position, chunk `high` after it
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle]! <= position) low = middle;
    else high = middle;
  }
  return low;
}

/** Where a frame lies in its blob. */
export function frameRange({ offsets }: FrameTable, index: number): { offset: number; size: number } {
  const offset = offsets[index]!;
  return { offset, size: offsets[index + 1]! - offset };
}

/** A frame's checksum; empty when the table has none. */
export function checksumOf({ checksums, checksumSize }: FrameTable, index: number): Uint8Array {
  return checksums.subarray(index * checksumSize, (index + 1) * checksumSize);
}

/** A frame as stored → its chunk: the checksum is compared before it is decoded, the length after. `blobName` is for errors. */
export async function decodeFrame(
  frame: Uint8Array,
  frames: FrameTable,
  index: number,
  blobName: string,
): Promise<Buffer> {
  return decode(frames, index, blobName, (options) => native.decodeFrame(frame, options));
}

/** As decodeFrame() of a frame that the thread which decodes it reads itself: one hop between threads less. */
export async function readFrame(
  source: NativeSource,
  frames: FrameTable,
  index: number,
  blobName: string,
): Promise<Buffer> {
  const range = frameRange(frames, index);
  return decode(frames, index, blobName, (options) => native.readFrame(source, { ...range, ...options }));
}

/** As decodeFrame(), to a place in a file, which may have been written in part when this fails. Resolves with the chunk's SHA-256. */
export async function placeFrame(
  frame: Uint8Array,
  frames: FrameTable,
  index: number,
  blobName: string,
  target: { fd: number; offset: number; name: string },
): Promise<Buffer> {
  return decode(frames, index, blobName, (options) => native.placeFrame(frame, options, target));
}

async function decode<T>(
  frames: FrameTable,
  index: number,
  blobName: string,
  run: (options: FrameOptions) => Promise<T>,
): Promise<T> {
  const { starts, offsets, compression } = frames;
  const name = `${blobName}: frame ${index} at byte ${offsets[index]!}`;
  const length = starts[index + 1]! - starts[index]!;
  checkAllocation(name, length);
  try {
    return await run({ length, compression, checksum: checksumOf(frames, index), name });
  } catch (error) {
    throw fromNativeError(error);
  }
}

/**
 * `length` decoded bytes from `offset`, out of the chunks that `load` gives: a part of a chunk where one holds them all, so that small reads
 * copy nothing. CORRUPT, about `name`, when they are not all there.
 */
export async function readChunks(
  { starts }: FrameTable,
  { name, offset, length }: { name: string; offset: number; length: number },
  load: (index: number) => Promise<Buffer>,
): Promise<Buffer> {
  checkRange({ name, size: starts.at(-1)! }, offset, length);
  if (length === 0) return Buffer.alloc(0);
  const end = offset + length;
  const first = chunkAt(starts, offset);
  if (end <= starts[first + 1]!) {
    return (await load(first)).subarray(offset - starts[first]!, end - starts[first]!);
  }
  const bytes = allocateRead(name, length);
  for (let index = first; starts[index]! < end;) {
    const batch: Promise<void>[] = [];
    const limit = starts[index]! + batchSize;
    do {
      const start = starts[index]!;
      batch.push(
        load(index++).then((chunk) => {
          chunk.copy(bytes, Math.max(0, start - offset), Math.max(0, offset - start), end - start);
        }),
      );
    } while (starts[index]! < end && starts[index + 1]! <= limit);
    await Promise.all(batch);
  }
  return bytes;
}

/** `length` decoded bytes from `offset`, from just the frames that hold them, each read and decoded for this alone. Errors as readChunks(). */
export async function readDecoded(
  blob: ByteSource,
  frames: FrameTable,
  offset: number,
  length: number,
): Promise<Buffer> {
  return readChunks(frames, { name: blob.name, offset, length }, async (index) => {
    const range = frameRange(frames, index);
    return decodeFrame(await blob.read(range.offset, range.size), frames, index, blob.name);
  });
}
