import type { FileType } from '../../erofs/inode';
import type { NodeAttributes, TreeNode } from './tree-node';

/** Where the fields of a record are; behind them come name, target, xattrs (two lengths, two texts), and the numbers of `data`. */
const at = {
  nameLength: 0,
  targetLength: 2,
  xattrs: 4,
  numbers: 8,
  mode: 12,
  uid: 16,
  gid: 20,
  nanoseconds: 24,
  major: 28,
  minor: 32,
  other: 36,
  size: 44,
  seconds: 52,
  nid: 60,
  folder: 68,
} as const;
const fieldsSize = 72;

/** What has no more to say than a name. */
export const nothing: Omit<TreeNode, 'type'> = {
  mode: 0,
  uid: 0,
  gid: 0,
  seconds: 0n,
  nanoseconds: 0,
  xattrs: null,
  size: 0,
  target: '',
  major: 0,
  minor: 0,
  data: [],
  nid: 0n,
};

/** Makes records in memory that is used again: each is there until the next one is made. */
export class RecordEncoder {
  private scratch = Buffer.alloc(1 << 10);

  /** @param other a number that the record's keeper gives a meaning to */
  encode(folder: number, name: string, other: number, node: Omit<TreeNode, 'type'>): Buffer {
    const { target, data, xattrs } = node;
    const length = fieldsSize + name.length + target.length + sizeOf(xattrs) + 8 * data.length;
    if (length > this.scratch.length) this.scratch = Buffer.alloc(2 * length);
    const bytes = this.scratch;
    bytes.writeUInt16LE(name.length, at.nameLength);
    bytes.writeUInt16LE(target.length, at.targetLength);
    bytes.writeUInt32LE(xattrs?.size ?? 0, at.xattrs);
    bytes.writeUInt32LE(data.length, at.numbers);
    bytes.writeUInt32LE(node.mode, at.mode);
    bytes.writeUInt32LE(node.uid, at.uid);
    bytes.writeUInt32LE(node.gid, at.gid);
    bytes.writeUInt32LE(node.nanoseconds, at.nanoseconds);
    bytes.writeUInt32LE(node.major, at.major);
    bytes.writeUInt32LE(node.minor, at.minor);
    bytes.writeUInt32LE(folder, at.folder);
    bytes.writeDoubleLE(other, at.other);
    bytes.writeDoubleLE(node.size, at.size);
    bytes.writeBigInt64LE(node.seconds, at.seconds);
    bytes.writeBigUInt64LE(node.nid, at.nid);
    let end = fieldsSize;
    end += bytes.write(name, end, 'latin1');
    if (target !== '') end += bytes.write(target, end, 'latin1');
    if (xattrs !== null) end = writeXattrs(bytes, end, xattrs);
    for (const number of data) end = bytes.writeDoubleLE(number, end);
    return bytes.subarray(0, length);
  }
}

function sizeOf(xattrs: TreeNode['xattrs']): number {
  let size = 0;
  for (const [name, value] of xattrs ?? []) size += 8 + name.length + value.length;
  return size;
}

function writeXattrs(bytes: Buffer, start: number, xattrs: ReadonlyMap<string, string>): number {
  let end = start;
  for (const xattr of xattrs) {
    for (const text of xattr) {
      end = bytes.writeUInt32LE(text.length, end);
      end += bytes.write(text, end, 'latin1');
    }
  }
  return end;
}

export function folderIn(record: Buffer): number {
  return record.readUInt32LE(at.folder);
}

export function nameIn(record: Buffer): string {
  return record.toString('latin1', fieldsSize, fieldsSize + record.readUInt16LE(at.nameLength));
}

export function targetIn(record: Buffer): string {
  const start = fieldsSize + record.readUInt16LE(at.nameLength);
  return record.toString('latin1', start, start + record.readUInt16LE(at.targetLength));
}

export function otherIn(record: Buffer): number {
  return record.readDoubleLE(at.other);
}

export function secondsIn(record: Buffer): bigint {
  return record.readBigInt64LE(at.seconds);
}

/** The node of a record, with attributes that may be told by another one. */
export function nodeIn(type: FileType, record: Buffer, attributes: NodeAttributes): TreeNode {
  const { mode, uid, gid, seconds, nanoseconds, xattrs } = attributes;
  const size = record.readDoubleLE(at.size);
  const target = targetIn(record);
  const major = record.readUInt32LE(at.major);
  const minor = record.readUInt32LE(at.minor);
  const nid = record.readBigUInt64LE(at.nid);
  const data = numbersIn(record);
  return { type, mode, uid, gid, seconds, nanoseconds, xattrs, size, target, major, minor, data, nid };
}

function numbersIn(record: Buffer): number[] {
  const numbers = new Array<number>(record.readUInt32LE(at.numbers));
  const start = record.length - 8 * numbers.length;
  for (let i = 0; i < numbers.length; i++) numbers[i] = record.readDoubleLE(start + 8 * i);
  return numbers;
}

export function attributesIn(record: Buffer): NodeAttributes {
  return {
    mode: record.readUInt32LE(at.mode),
    uid: record.readUInt32LE(at.uid),
    gid: record.readUInt32LE(at.gid),
    seconds: secondsIn(record),
    nanoseconds: record.readUInt32LE(at.nanoseconds),
    xattrs: xattrsIn(record),
  };
}

function xattrsIn(record: Buffer): Map<string, string> | null {
  const count = record.readUInt32LE(at.xattrs);
  if (count === 0) return null;
  const xattrs = new Map<string, string>();
  let end = fieldsSize + record.readUInt16LE(at.nameLength) + record.readUInt16LE(at.targetLength);
  const next = (): string => {
    const start = end + 4;
    end = start + record.readUInt32LE(end);
    return record.toString('latin1', start, end);
  };
  for (let left = count; left > 0; left--) xattrs.set(next(), next());
  return xattrs;
}
