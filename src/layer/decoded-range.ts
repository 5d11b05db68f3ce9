import { native, type FrameTable } from '../native/binding';
import { fromNativeError } from '../native/run';
import { checkRange } from '../source/range';
import type { ByteSource } from '../source/byte-source';

/** Index of the frame that holds byte `position` of the decoded bytes. */
function frameAt(starts: Float64Array, position: number): number {
  let low = 0;
  let high = starts.length - 1; // frame `low` begins at or before position, frame `high` after it
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle]! <= position) low = middle;
    else high = middle;
  }
  return low;
}

/** One frame of a blob, decoded; its checksum is compared before, its length after. */
export async function decodeFrame(blob: ByteSource, frames: FrameTable, index: number): Promise<Buffer> {
  const { offsets, starts, checksums, checksumSize, compression } = frames;
  const offset = offsets[index]!;
  const frame = await blob.read(offset, offsets[index + 1]! - offset);
  const checksum = checksums.subarray(index * checksumSize, (index + 1) * checksumSize);
  const size = starts[index + 1]! - starts[index]!;
  const name = `${blob.name}: frame ${index} at byte ${offset}`;
  try {
    return await native.decodeFrame(frame, { compression, checksum, size, name });
  } catch (error) {
    throw fromNativeError(error);
  }
}

/** `length` decoded bytes from `offset`, from just the frames that hold them. CORRUPT when they are not all there. */
export async function readDecoded(
  blob: ByteSource,
  frames: FrameTable,
  offset: number,
  length: number,
): Promise<Buffer> {
  const { starts } = frames;
  checkRange({ name: blob.name, size: starts.at(-1)! }, offset, length);
  const parts: Buffer[] = [];
  for (let index = frameAt(starts, offset), at = offset; at < offset + length; ++index) {
    const chunk = await decodeFrame(blob, frames, index);
    const part = chunk.subarray(at - starts[index]!, offset + length - starts[index]!);
    parts.push(part);
    at += part.length;
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}
