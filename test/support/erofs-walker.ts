/*
 * A second reader of EROFS images, made from the kernel's documentation of the format: just enough to list what images of this package's
 * own builder have. It shares no code with the package.
 */

export interface WalkedInode {
  /** Names from the root, `/` for itself. A hard link has several. */
  paths: string[];
  mode: number;
  nlink: number;
  rdev: number;
  xattrs: Map<string, string>;
}

const magic = 0xe0f5e1e2;
const xattrPrefixes = [
  '',
  'user.',
  'system.posix_acl_access',
  'system.posix_acl_default',
  'trusted.',
  '',
  'security.',
];

/** Every inode of an image. Throws for what is no EROFS image. */
export function walkErofs(image: Buffer): WalkedInode[] {
  const superblock = image.subarray(1024, 1152);
  if (superblock.readUInt32LE(0) !== magic) throw new Error('no EROFS image');
  const blockSize = 1 << superblock[12]!;
  const inodesAt = superblock.readUInt32LE(40) * blockSize;
  const sharedAt = superblock.readUInt32LE(44) * blockSize;
  const found = new Map<number, WalkedInode>();

  const visit = (nid: number, path: string): void => {
    const known = found.get(nid);
    if (known !== undefined) {
      known.paths.push(path);
      return;
    }
    const at = inodesAt + nid * 32;
    const format = image.readUInt16LE(at);
    const extended = (format & 1) === 1;
    const mode = image.readUInt16LE(at + 4);
    const count = image.readUInt16LE(at + 2);
    const xattrsAt = at + (extended ? 64 : 32);
    const xattrsSize = count === 0 ? 0 : 12 + (count - 1) * 4;
    found.set(nid, {
      paths: [path],
      mode,
      nlink: extended ? image.readUInt32LE(at + 44) : image.readUInt16LE(at + 6),
      rdev: image.readUInt32LE(at + 16),
      xattrs: readXattrs(image, xattrsAt, xattrsSize, sharedAt),
    });
    if ((mode & 0o170000) !== 0o040000) return;
    const size = extended ? Number(image.readBigUInt64LE(at + 8)) : image.readUInt32LE(at + 8);
    const start = image.readUInt32LE(at + 16) * blockSize;
    const layout = (format >> 1) & 7;
    if (layout !== 0 && layout !== 2) throw new Error(`directory of layout ${layout}`);
    const whole = layout === 0 ? size : size - (size % blockSize);
    const bytes = Buffer.concat([
      image.subarray(start, start + whole),
      image.subarray(xattrsAt + xattrsSize, xattrsAt + xattrsSize + size - whole),
    ]);
    for (const [name, child] of readNames(bytes, blockSize)) {
      if (name !== '.' && name !== '..') visit(child, path === '/' ? `/${name}` : `${path}/${name}`);
    }
  };
  visit(superblock.readUInt16LE(14), '/');
  return [...found.values()];
}

function* readNames(bytes: Buffer, blockSize: number): Generator<[string, number]> {
  for (let start = 0; start < bytes.length; start += blockSize) {
    const block = bytes.subarray(start, start + blockSize);
    const count = block.readUInt16LE(8) / 12;
    for (let i = 0; i < count; i++) {
      const nid = Number(block.readBigUInt64LE(i * 12));
      const end = i + 1 < count ? block.readUInt16LE((i + 1) * 12 + 8) : block.length;
      const name = block.toString('latin1', block.readUInt16LE(i * 12 + 8), end);
      yield [name.replace(/\0+$/, ''), nid];
    }
  }
}

function readXattrs(image: Buffer, at: number, size: number, sharedAt: number): Map<string, string> {
  const xattrs = new Map<string, string>();
  if (size === 0) return xattrs;
  const read = (offset: number): number => {
    const nameLength = image[offset]!;
    const valueLength = image.readUInt16LE(offset + 2);
    const name = image.toString('latin1', offset + 4, offset + 4 + nameLength);
    const value = image.toString('latin1', offset + 4 + nameLength, offset + 4 + nameLength + valueLength);
    xattrs.set(xattrPrefixes[image[offset + 1]!]! + name, value);
    return offset + ((4 + nameLength + valueLength + 3) & ~3);
  };
  const shared = image[at + 4]!;
  for (let i = 0; i < shared; i++) read(sharedAt + image.readUInt32LE(at + 12 + i * 4) * 4);
  for (let offset = at + 12 + shared * 4; offset < at + size;) offset = read(offset);
  return xattrs;
}
