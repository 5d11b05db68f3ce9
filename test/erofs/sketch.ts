import { crc32c } from '../../src/erofs/crc32c';
import { openErofs, type ErofsFilesystem } from '../../src/erofs/filesystem';
import { MemorySource } from '../support/memory-source';

const blockSize = 4096;
export const modes = { file: 0o100644, dir: 0o40755, symlink: 0o120777, char: 0o20644, fifo: 0o10644 };
const layoutNumbers = { plain: 0, full: 1, inline: 2, compact: 3, chunks: 4 };

/** The fields of an inode; what is left out is harmless. */
export interface InodeSketch {
  mode?: number;
  size?: number | bigint;
  /** The u field. */
  u?: number;
  layout?: keyof typeof layoutNumbers;
  extended?: boolean;
  /** Bit 4 and more of i_format. */
  formatBits?: number;
  xattrCount?: number;
  /** Bytes 6 and 7. */
  high?: number;
  mtime?: bigint;
  nanoseconds?: number;
  /** What follows the inode: xattrs, inline tail, maps. */
  body?: Buffer;
}

/** An image put together by hand, in blocks of 4096 bytes; the root is inode 36. */
export class Sketch {
  static readonly root = 36n;
  readonly bytes: Buffer;

  constructor(blocks = 16) {
    this.bytes = Buffer.alloc(blocks * blockSize);
    const { bytes } = this;
    bytes.writeUInt32LE(0xe0f5e1e2, 1024);
    bytes.writeUInt8(12, 1024 + 12);
    bytes.writeUInt16LE(Number(Sketch.root), 1024 + 14);
    bytes.writeUInt32LE(blocks, 1024 + 36);
  }

  inode(nid: bigint | number, sketch: InodeSketch): this {
    const { mode = modes.file, size = 0, u = 0, layout = 'plain', extended = false, body } = sketch;
    const at = Number(nid) * 32;
    const { bytes } = this;
    bytes.writeUInt16LE((extended ? 1 : 0) | (layoutNumbers[layout] << 1) | (sketch.formatBits ?? 0), at);
    bytes.writeUInt16LE(sketch.xattrCount ?? 0, at + 2);
    bytes.writeUInt16LE(mode, at + 4);
    bytes.writeUInt16LE(sketch.high ?? 1, at + 6);
    bytes.writeUInt32LE(u, at + 16);
    if (extended) {
      bytes.writeBigUInt64LE(BigInt(size), at + 8);
      bytes.writeBigInt64LE(sketch.mtime ?? 0n, at + 32);
      bytes.writeUInt32LE(sketch.nanoseconds ?? 0, at + 40);
      bytes.writeUInt32LE(1, at + 44);
    } else {
      bytes.writeUInt32LE(Number(size), at + 8);
      bytes.writeUInt32LE(Number(sketch.mtime ?? 0n), at + 12);
    }
    body?.copy(bytes, at + (extended ? 64 : 32));
    return this;
  }

  /** A directory of one block or more at `block`, its names in the order given. */
  directory(nid: bigint | number, block: number, entries: [string | Buffer, bigint | number][]): this {
    const data = directoryData(entries);
    data.copy(this.bytes, block * blockSize);
    return this.inode(nid, { mode: modes.dir, size: data.length, u: block });
  }

  /** A symlink with its target behind it. */
  symlink(nid: bigint | number, target: string): this {
    return this.inode(nid, {
      mode: modes.symlink,
      size: target.length,
      layout: 'inline',
      u: 0xffffffff,
      body: Buffer.from(target),
    });
  }

  /** Sets the feature bit and the checksum. */
  checksummed(): this {
    this.bytes.writeUInt32LE(this.bytes.readUInt32LE(1024 + 8) | 1, 1024 + 8);
    this.bytes.writeUInt32LE(0, 1024 + 4);
    this.bytes.writeUInt32LE(crc32c(this.bytes.subarray(1024, 4096)), 1024 + 4);
    return this;
  }

  source(): MemorySource {
    return new MemorySource(this.bytes);
  }

  open(): Promise<ErofsFilesystem> {
    return openErofs(this.source());
  }
}

/** Directory blocks, filled one after the other. */
export function directoryData(entries: [string | Buffer, bigint | number][]): Buffer {
  const blocks: [Buffer, bigint][][] = [[]];
  let used = 0;
  for (const [text, nid] of entries) {
    const name = Buffer.from(text as string);
    if (used + 12 + name.length > blockSize) {
      blocks.push([]);
      used = 0;
    }
    used += 12 + name.length;
    blocks.at(-1)!.push([name, BigInt(nid)]);
  }
  const data = blocks.map((names, index) => directoryBlock(names, index < blocks.length - 1));
  return Buffer.concat(data);
}

function directoryBlock(entries: [Buffer, bigint][], padded: boolean): Buffer {
  const names = Buffer.concat(entries.map(([name]) => name));
  const block = Buffer.alloc(padded ? blockSize : entries.length * 12 + names.length);
  let nameAt = entries.length * 12;
  entries.forEach(([name, nid], index) => {
    block.writeBigUInt64LE(nid, index * 12);
    block.writeUInt16LE(nameAt, index * 12 + 8);
    name.copy(block, nameAt);
    nameAt += name.length;
  });
  return block;
}
