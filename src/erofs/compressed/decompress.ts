import { SeekableErofsError } from '../../errors';
import { native } from '../../native/binding';
import { fromNativeError } from '../../native/native-error';
import { checkAllocation } from '../../source/range';
import type { CompressedContext } from './context';
import type { Encoded } from './extent';
import { inflatePrefix } from './inflate';
import { decodeLz4 } from './lz4';
import { decodeMicroLzma } from './lzma';

/** Stored bytes to decode. */
interface Decoding {
  input: Buffer;
  source: Encoded;
  /** Bytes that the extent has. */
  size: number;
  /** Where in the file it begins. */
  start: number;
  /** What errors call it. */
  name: string;
}

/** The bytes of an extent. CORRUPT unless they are exactly `size`. */
export async function decompress(context: CompressedContext, decoding: Decoding): Promise<Buffer> {
  const { input, source, size, start } = decoding;
  const { blockSize } = context;
  switch (source.format) {
    case 'plain':
      return input.subarray(0, size);
    case 'interlaced':
      return unrotate(input, size, blockSize - (start % blockSize));
    case 'lz4':
      if (context.lz4ZeroPadding) return decodeWith(decodeLz4, decoding, withoutPadding(context, decoding));
      // Old images pad at the end: nothing tells where the block ends.
      return decodeWith(decodeLz4, { ...decoding, source: { ...source, partial: true } }, input);
    case 'lzma':
      return decodeWith(decodeMicroLzma, decoding, withoutPadding(context, decoding));
    case 'deflate':
      return inflate(decoding, withoutPadding(context, decoding));
    case 'zstd':
      return decodeZstd(decoding, withoutPadding(context, decoding));
  }
}

/** Interlaced bytes lie at the offset within a block that they have in the file: the first `head` come last. */
function unrotate(input: Buffer, size: number, head: number): Buffer {
  const from = Math.max(0, input.length - head);
  const first = input.subarray(from, from + Math.min(head, size));
  return Buffer.concat([first, input.subarray(0, size - first.length)]);
}

/** Compressed bytes end where their blocks end: zeros come first, at most as far as the first block reaches. */
function withoutPadding({ blockSize }: CompressedContext, { input, source, name }: Decoding): Buffer {
  const limit = Math.min(input.length, blockSize - (source.offset % blockSize));
  let margin = 0;
  while (margin < limit && input[margin] === 0) margin += 1;
  if (margin < limit) return input.subarray(margin);
  throw corrupt(name, 'its first block holds nothing but zeros');
}

function corrupt(name: string, why: string): SeekableErofsError {
  return new SeekableErofsError('CORRUPT', { what: name, why });
}

function decodeWith(
  decoder: (input: Uint8Array, out: Uint8Array, whole: boolean) => string | undefined,
  { size, source, name }: Decoding,
  input: Buffer,
): Buffer {
  const out = Buffer.alloc(size);
  const fault = decoder(input, out, !source.partial);
  if (fault === undefined) return out;
  throw corrupt(name, fault);
}

async function inflate({ size, source, name }: Decoding, input: Buffer): Promise<Buffer> {
  try {
    return await inflatePrefix(input, size, !source.partial);
  } catch (error) {
    throw corrupt(name, (error as Error).message);
  }
}

async function decodeZstd({ size, source, name }: Decoding, input: Buffer): Promise<Buffer> {
  checkAllocation(name, size);
  try {
    return await native.decompressZstd(input, { length: size, whole: !source.partial, name });
  } catch (error) {
    throw fromNativeError(error);
  }
}
