import { open, readFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '../fs/atomic-file';
import { writeFully } from '../fs/write-fully';
import { checksumOf } from '../layer/decoded-range';
import { isLargeChunk, type LayerChunks } from './layer-chunks';

/*
 * In a store, `chunks-1` says which checksums its chunks have, for layers that have chunks in common with it:
 *   0 magic   8 compression u8   9 bytes of a checksum in the table u8   10 reserved   12 chunks u32
 * and one entry a chunk: the first 32 bytes of the checksum, its first byte in the layer's file u64, its length u64. Of a chunk that others
 * can't take (without a checksum, filled up with zeros, too large for memory) the length is 0.
 */
const listName = 'chunks-1';
const magic = Buffer.from('SEEKCHK1', 'latin1');
const headSize = 16;
const entrySize = 48;
const nameSize = 32;
/** More is no whole number in JavaScript. */
const keySize = 6;
/** No list is larger: some 100,000 chunks more would be of a layer of many GB. */
const maxListSize = 16 << 20;

/** What a list says of one chunk. */
interface ListedChunk {
  /** Of its checksum, the first bytes. */
  name: Buffer;
  /** Bytes of the layer's file. */
  start: number;
  length: number;
}

/** The list of the chunks of one store, whole. */
export class ChunkList {
  private constructor(private readonly bytes: Buffer) {}

  static of(chunks: LayerChunks): ChunkList {
    const { frames, frameCount, starts } = chunks;
    const bytes = Buffer.alloc(headSize + frameCount * entrySize);
    magic.copy(bytes);
    bytes.writeUInt8(frames.compression === 'zstd' ? 1 : 0, 8);
    bytes.writeUInt8(frames.checksumSize, 9);
    bytes.writeUInt32LE(frameCount, 12);
    for (let chunk = 0; frames.checksumSize > 0 && chunk < frameCount; chunk++) {
      const isPlain = starts[chunk + 1] === frames.starts[chunk + 1];
      if (!isPlain || isLargeChunk(chunks, chunk)) continue;
      const at = headSize + chunk * entrySize;
      bytes.set(checksumOf(frames, chunk).subarray(0, nameSize), at);
      bytes.writeBigUInt64LE(BigInt(starts[chunk]!), at + nameSize);
      bytes.writeBigUInt64LE(BigInt(starts[chunk + 1]! - starts[chunk]!), at + nameSize + 8);
    }
    return new ChunkList(bytes);
  }

  /** The list of the store in `folder`; null where there is none that makes sense. */
  static async read(folder: string): Promise<ChunkList | null> {
    const handle = await open(join(folder, listName), 'r').catch(() => null);
    if (handle === null) return null;
    try {
      const { size } = await handle.stat();
      if (size < headSize || size > maxListSize) return null;
      const bytes = await handle.readFile();
      const isWhole = bytes.length === headSize + bytes.readUInt32LE(12) * entrySize;
      return isWhole && bytes.subarray(0, magic.length).equals(magic) ? new ChunkList(bytes) : null;
    } catch {
      return null;
    } finally {
      await handle.close();
    }
  }

  /** Keeps it in the store in `folder`, unless it is there. Rejects with what the system says. */
  async save(folder: string): Promise<void> {
    const path = join(folder, listName);
    if (this.bytes.length > maxListSize) return;
    const kept = await readFile(path).catch(() => null);
    if (kept?.equals(this.bytes) === true) return;
    // A mount waits for this, and whoever takes a chunk compares all of its entry: what a power cut leaves of a list is no other chunk's.
    await writeAtomically(path, ({ fd }) => writeFully(fd, this.bytes, 0), { sync: false });
  }

  get count(): number {
    return this.bytes.readUInt32LE(12);
  }

  get byteLength(): number {
    return this.bytes.length;
  }

  /** Whether chunks with equal checksums in both are equal. */
  isLike(other: ChunkList): boolean {
    return this.bytes.readUInt16LE(8) === other.bytes.readUInt16LE(8);
  }

  chunk(index: number): ListedChunk {
    return entryAt(this.bytes, headSize + index * entrySize);
  }

  /** The first bytes of a chunk's name, as a number: most chunks of others are told apart by it. */
  keyOf(index: number): number {
    return this.bytes.readUIntBE(headSize + index * entrySize, keySize);
  }
}

/** One entry of the list in `folder`, read alone: from a list that has changed since it may be any. */
export async function readListed(folder: string, index: number): Promise<ListedChunk | null> {
  const handle = await open(join(folder, listName), 'r').catch(() => null);
  if (handle === null) return null;
  try {
    const bytes = await readExactly(handle, headSize + index * entrySize, entrySize);
    return bytes && entryAt(bytes, 0);
  } finally {
    await handle.close();
  }
}

/** Null where the file ends before. */
export async function readExactly(
  handle: FileHandle,
  offset: number,
  length: number,
): Promise<Buffer | null> {
  const bytes = Buffer.alloc(length);
  for (let done = 0; done < length;) {
    const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
    if (bytesRead === 0) return null;
    done += bytesRead;
  }
  return bytes;
}

function entryAt(bytes: Buffer, at: number): ListedChunk {
  return {
    name: bytes.subarray(at, at + nameSize),
    start: Number(bytes.readBigUInt64LE(at + nameSize)),
    length: Number(bytes.readBigUInt64LE(at + nameSize + 8)),
  };
}
