import { failure } from '../errors';
import { asBuffer } from './little-endian';

/** Magic and size: what stands before the payload of a skippable frame (RFC 8878, section 3.1.2). */
export const skippableHeaderSize = 8;
/** The magic that is written. Readers take the sixteen from here on. */
const skippableMagic = 0x184d2a50;
/** The longest payload that the size field can tell. */
export const maxSkippablePayload = 0xffff_ffff;

/** Whether a little-endian u32 is one of the sixteen magics of skippable frames. */
export function isSkippableMagic(magic: number): boolean {
  return magic >= skippableMagic && magic <= skippableMagic + 15;
}

/** The 8 bytes before a payload. UNSUPPORTED, about `what`, when the payload doesn't fit in a skippable frame. */
export function serializeSkippableHeader(payloadSize: number, what = 'skippable frame'): Buffer {
  if (payloadSize > maxSkippablePayload) {
    throw failure(
      'UNSUPPORTED',
      what,
      `${payloadSize} bytes don't fit in a zstd skippable frame (4 GiB - 1)`,
    );
  }
  const header = Buffer.alloc(skippableHeaderSize);
  header.writeUInt32LE(skippableMagic, 0);
  header.writeUInt32LE(payloadSize, 4);
  return header;
}

/** The payload's size, from the first 8 bytes of a frame. CORRUPT, about `what`, when they begin no skippable frame. */
export function parseSkippableHeader(bytes: Uint8Array, what = 'skippable frame'): { payloadSize: number } {
  if (bytes.length < skippableHeaderSize) {
    throw failure(
      'CORRUPT',
      what,
      `${bytes.length} bytes where a frame header of ${skippableHeaderSize} belongs`,
    );
  }
  const header = asBuffer(bytes);
  const magic = header.readUInt32LE(0);
  if (!isSkippableMagic(magic)) {
    throw failure('CORRUPT', what, `magic 0x${magic.toString(16)} is none of a zstd skippable frame`);
  }
  return { payloadSize: header.readUInt32LE(4) };
}
