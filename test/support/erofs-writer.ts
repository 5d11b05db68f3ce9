import { createHash } from 'node:crypto';

/*
 * A second writer of EROFS images, made from the kernel's documentation of the format: extended inodes, plain data, chunks in the image or
 * on devices, xattrs in the inode. It shares no code with the package.
 */

/** A file, directory … of an image. Directories need no entry of their own. */
export interface ErofsEntry {
  /** From the root, without a slash before it; empty for the root itself. */
  path: string;
  /** Default: a file; a directory where others lie below. */
  type?: 'file' | 'dir' | 'symlink' | 'char';
  mode?: number;
  uid?: number;
  gid?: number;
  mtime?: number;
  content?: string | Buffer;
  target?: string;
  /** Of a `char`; default: 0:0, a whiteout. */
  rdev?: number;
  xattrs?: Record<string, string>;
  /** A file whose data is on devices: where each of its blocks lies. */
  blocks?: { device: number; block: number }[];
  /** Bytes of a file that has `blocks`, or is a hole. */
  size?: number;
  /** Another name of the file at this path. */
  hardlink?: string;
}

export interface ErofsChoices {
  blockSize?: 512 | 1024 | 2048 | 4096;
  /** The device table: what each device is called, and how many blocks it has. */
  devices?: { tag?: string; blocks: number }[];
}

interface Node {
  entry: ErofsEntry;
  type: NonNullable<ErofsEntry['type']>;
  children: Map<string, Node>;
  parent: Node;
  links: number;
  nid: number;
  offset: number;
  xattrs: Buffer;
  data: Buffer;
  startBlock: number;
}

const superblockAt = 1024;
const inodeSize = 64;
const typeBits = { file: 0o100000, dir: 0o040000, symlink: 0o120000, char: 0o020000 };
const direntTypes = { file: 1, dir: 2, symlink: 7, char: 3 };
const namespaces: [prefix: string, index: number][] = [
  ['user.', 1],
  ['trusted.', 4],
  ['security.', 6],
];
const noBlock = 0xffff_ffff;

/** The image of these entries; the same entries give the same bytes. */
export function writeErofs(entries: readonly ErofsEntry[], choices: ErofsChoices = {}): Buffer {
  const { blockSize = 4096, devices = [] } = choices;
  const root = treeOf(entries);
  const nodes = [...walk(root)];
  let at = superblockAt + 128 + devices.length * 128;
  for (const node of nodes) {
    node.xattrs = xattrBody(node.entry.xattrs ?? {});
    node.offset = at;
    node.nid = at / 32;
    at = roundUp(at + inodeSize + node.xattrs.length + chunkTable(node, 8).length, 32) + 32;
  }
  let block = Math.ceil(at / blockSize);
  for (const node of nodes) {
    node.data = dataOf(node, blockSize);
    node.startBlock = node.data.length === 0 ? noBlock : block;
    block += Math.ceil(node.data.length / blockSize);
  }
  const image = Buffer.alloc(block * blockSize);
  for (const node of nodes) writeNode(image, node, blockSize);
  devices.forEach(({ tag = '', blocks }, i) => {
    image.write(tag, 1152 + 128 * i, 64, 'latin1');
    image.writeUInt32LE(blocks, 1152 + 128 * i + 64);
  });
  writeSuperblock(image, { blockSize, root: root.nid, inodes: nodes.length, devices: devices.length });
  return image;
}

function treeOf(entries: readonly ErofsEntry[]): Node {
  const root = newNode({ path: '', type: 'dir' });
  root.parent = root;
  const folder = (path: string): Node => {
    let node = root;
    for (const [i, name] of path.split('/').filter(Boolean).entries()) {
      const parts = path.split('/').slice(0, i + 1);
      if (!node.children.has(name)) add(node, name, newNode({ path: parts.join('/'), type: 'dir' }));
      node = node.children.get(name)!;
    }
    return node;
  };
  const add = (parent: Node, name: string, node: Node): void => {
    node.parent = parent;
    parent.children.set(name, node);
  };
  for (const entry of entries) {
    if (entry.path === '') {
      root.entry = { ...entry, type: 'dir' };
      continue;
    }
    const slash = entry.path.lastIndexOf('/');
    const parent = folder(entry.path.slice(0, Math.max(slash, 0)));
    const name = entry.path.slice(slash + 1);
    const known = parent.children.get(name);
    if (entry.hardlink !== undefined) {
      const other = folder(entry.hardlink.replace(/\/?[^/]*$/, '')).children.get(
        entry.hardlink.replace(/^.*\//, ''),
      )!;
      other.links++;
      parent.children.set(name, other);
    } else if (known !== undefined) known.entry = { ...entry, type: 'dir' };
    else add(parent, name, newNode(entry));
  }
  return root;
}

function newNode(entry: ErofsEntry): Node {
  const type = entry.type ?? (entry.target === undefined ? 'file' : 'symlink');
  const nothing = {
    links: 1,
    nid: 0,
    offset: 0,
    xattrs: Buffer.alloc(0),
    data: Buffer.alloc(0),
    startBlock: 0,
  };
  return { entry, type, children: new Map(), parent: undefined as unknown as Node, ...nothing };
}

/** Each inode once. */
function* walk(node: Node, seen = new Set<Node>()): Generator<Node> {
  if (seen.has(node)) return;
  seen.add(node);
  yield node;
  for (const name of [...node.children.keys()].sort(byBytes)) yield* walk(node.children.get(name)!, seen);
}

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
const roundUp = (value: number, step: number): number => Math.ceil(value / step) * step;

function xattrBody(xattrs: Record<string, string>): Buffer {
  const entries = Object.entries(xattrs).map(([name, text]) => {
    const [prefix, index] = namespaces.find(([start]) => name.startsWith(start))!;
    const [rest, value] = [Buffer.from(name.slice(prefix.length)), Buffer.from(text)];
    const entry = Buffer.alloc(roundUp(4 + rest.length + value.length, 4));
    entry[0] = rest.length;
    entry[1] = index;
    entry.writeUInt16LE(value.length, 2);
    rest.copy(entry, 4);
    value.copy(entry, 4 + rest.length);
    return entry;
  });
  return entries.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.alloc(12), ...entries]);
}

const isChunked = ({ entry }: Node): boolean => entry.blocks !== undefined || entry.size !== undefined;
const sizeOf = (node: Node): number => node.entry.size ?? node.data.length;

/** One entry of eight bytes a block; holes where no device has it. */
function chunkTable(node: Node, entrySize: number): Buffer {
  if (!isChunked(node)) return Buffer.alloc(0);
  const { blocks = [], size = 0 } = node.entry;
  // A hole is one large chunk.
  const count = blocks.length > 0 ? blocks.length : size > 0 ? 1 : 0;
  const table = Buffer.alloc(count * entrySize, 0xff);
  blocks.forEach(({ device, block }, i) => {
    table.writeUInt16LE(0, i * entrySize);
    table.writeUInt16LE(device, i * entrySize + 2);
    table.writeUInt32LE(block, i * entrySize + 4);
  });
  return table;
}

function dataOf(node: Node, blockSize: number): Buffer {
  const { type, entry } = node;
  if (type === 'dir') return directoryData(node, blockSize);
  if (type === 'symlink') return Buffer.from(entry.target!);
  return isChunked(node) ? Buffer.alloc(0) : Buffer.from(entry.content ?? '');
}

function directoryData(node: Node, blockSize: number): Buffer {
  const names: [string, Node][] = [...node.children, ['.', node], ['..', node.parent]];
  names.sort(([a], [b]) => byBytes(a, b));
  const blocks: [string, Node][][] = [[]];
  let used = 0;
  for (const name of names) {
    const length = 12 + Buffer.byteLength(name[0]);
    if (used + length > blockSize) {
      blocks.push([]);
      used = 0;
    }
    blocks.at(-1)!.push(name);
    used += length;
  }
  const written = blocks.map(directoryBlock);
  return Buffer.concat(
    written.map((block, i) =>
      i + 1 < written.length ? Buffer.concat([block, Buffer.alloc(blockSize - block.length)]) : block,
    ),
  );
}

function directoryBlock(names: readonly [string, Node][]): Buffer {
  const heads = Buffer.alloc(12 * names.length);
  let at = heads.length;
  names.forEach(([name, node], i) => {
    heads.writeBigUInt64LE(BigInt(node.nid), 12 * i);
    heads.writeUInt16LE(at, 12 * i + 8);
    heads[12 * i + 10] = direntTypes[node.type];
    at += Buffer.byteLength(name);
  });
  return Buffer.concat([heads, ...names.map(([name]) => Buffer.from(name))]);
}

function writeNode(image: Buffer, node: Node, blockSize: number): void {
  const { entry, type, offset, xattrs, data, startBlock, children } = node;
  const { mode = type === 'dir' ? 0o755 : 0o644, uid = 0, gid = 0, mtime = 0, rdev = 0 } = entry;
  const chunked = isChunked(node);
  const folders = [...children.values()].filter((child) => child.type === 'dir').length;
  image.writeUInt16LE(1 | ((chunked ? 4 : 0) << 1), offset);
  image.writeUInt16LE(xattrs.length === 0 ? 0 : (xattrs.length - 12) / 4 + 1, offset + 2);
  image.writeUInt16LE(typeBits[type] | mode, offset + 4);
  image.writeBigUInt64LE(BigInt(type === 'char' ? 0 : sizeOf(node)), offset + 8);
  // Chunks of one block, or one that holds all of a hole; indexes of eight bytes.
  const holeBits = Math.max(0, Math.ceil(Math.log2((entry.size ?? 0) / blockSize)));
  const format = 0x20 | (entry.blocks === undefined ? holeBits : 0);
  image.writeUInt32LE(type === 'char' ? rdev : chunked ? format : startBlock, offset + 16);
  image.writeUInt32LE(uid, offset + 24);
  image.writeUInt32LE(gid, offset + 28);
  image.writeBigInt64LE(BigInt(mtime), offset + 32);
  image.writeUInt32LE(type === 'dir' ? 2 + folders : node.links, offset + 44);
  xattrs.copy(image, offset + inodeSize);
  chunkTable(node, 8).copy(image, roundUp(offset + inodeSize + xattrs.length, 8));
  if (data.length > 0) data.copy(image, startBlock * blockSize);
}

function writeSuperblock(
  image: Buffer,
  { blockSize, root, inodes, devices }: { blockSize: number; root: number; inodes: number; devices: number },
): void {
  const start = superblockAt;
  image.writeUInt32LE(0xe0f5e1e2, start);
  image.writeUInt32LE(0x1 | 0x2, start + 8); // a checksum, times that are mtimes
  image[start + 12] = Math.log2(blockSize);
  image.writeUInt16LE(root, start + 14);
  image.writeBigUInt64LE(BigInt(inodes), start + 16);
  image.writeUInt32LE(image.length / blockSize, start + 36);
  image.writeUInt32LE(0x4 | (devices > 0 ? 0x8 : 0), start + 80); // chunks, a device table
  image.writeUInt16LE(devices, start + 86);
  image.writeUInt16LE(devices > 0 ? 9 : 0, start + 88);
  createHash('sha256')
    .update(image)
    .digest()
    .copy(image, start + 48, 0, 16);
  const length = blockSize > superblockAt ? blockSize - superblockAt : blockSize;
  image.writeUInt32LE(crc32c(image.subarray(start, start + length)), start + 4);
}

/** As EROFS has it: without the inversion at the end. */
function crc32c(bytes: Buffer): number {
  let sum = noBlock;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0x82f63b78 : 0);
  }
  return sum >>> 0;
}
