import { failure } from '../errors';
import { corrupt, unsupported, type Inode } from './inode';
import type { MetadataArea } from './metadata-area';

const headerSize = 12;
const entryHeaderSize = 4;
/** More would only serve to make small images cost a lot: an entry can be shared by any number of inodes. */
const maxTotal = 1 << 20;

/** An extended attribute. */
export interface Xattr {
  /** The whole name, e.g. `user.k`. */
  name: Buffer;
  value: Buffer;
}

/** What names begin with, by index. Others are invisible, as they are to the kernel. */
const prefixes = new Map([
  [1, 'user.'],
  [2, 'system.posix_acl_access'],
  [3, 'system.posix_acl_default'],
  [4, 'trusted.'],
  [6, 'security.'],
]);
const isWholeName = (index: number): boolean => index === 2 || index === 3;

/** A long prefix: it goes on where a short one ends. */
interface LongPrefix {
  base: number;
  infix: Buffer;
}

/** Reads the xattrs of one image's inodes. */
export class XattrReader {
  constructor(
    /** Where shared entries lie, and the byte offset of entry 0. */
    private readonly shared: { area: MetadataArea; start: number },
    private readonly longPrefixes: readonly LongPrefix[],
  ) {}

  /**
   * All visible xattrs, by bytes of their names. CORRUPT for entries that are not inside of what holds them, UNSUPPORTED where there is
   * a header alone, or more than 1 MiB of them.
   */
  async read(inode: Inode): Promise<Xattr[]> {
    const { area, nid, xattrStart, xattrSize } = inode;
    if (xattrSize === 0) return [];
    if (xattrSize === headerSize) throw unsupported(area.name, nid, 'its xattrs are a header alone');
    const body = await area.read(xattrStart, xattrSize);
    const sharedCount = body.readUInt8(4);
    const inlineStart = headerSize + 4 * sharedCount;
    if (inlineStart > body.length) {
      throw corrupt(area.name, nid, `${sharedCount} shared xattrs are more than fit`);
    }
    const found = new Map<string, Xattr>();
    let total = 0;
    const keep = (entry: Buffer): void => {
      total += entry.length;
      if (total > maxTotal) throw unsupported(area.name, nid, 'its xattrs are more than 1 MiB');
      const xattr = this.parse(entry);
      // What comes first wins: so it does where the kernel looks for one name.
      const key = xattr?.name.toString('latin1') ?? '';
      if (xattr !== undefined && !found.has(key)) found.set(key, xattr);
    };
    for (const entry of inlineEntries(inode, body.subarray(inlineStart))) keep(entry);
    for (let position = headerSize; position < inlineStart; position += 4) {
      keep(await this.readShared(body.readUInt32LE(position)));
    }
    return [...found.values()].sort((a, b) => Buffer.compare(a.name, b.name));
  }

  private async readShared(id: number): Promise<Buffer> {
    const { area, start } = this.shared;
    const offset = start + 4 * id;
    const length = entryLength(await area.read(offset, entryHeaderSize), 0);
    return area.read(offset, length);
  }

  /** The xattr of an entry; undefined if it is invisible. */
  private parse(entry: Buffer): Xattr | undefined {
    const nameEnd = entryHeaderSize + entry.readUInt8(0);
    const index = entry.readUInt8(1);
    const long = index >= 0x80 ? this.longPrefixes[index & 0x7f] : { base: index, infix: Buffer.alloc(0) };
    const prefix = long && prefixes.get(long.base);
    if (prefix === undefined) return undefined;
    const rest = Buffer.concat([long!.infix, entry.subarray(entryHeaderSize, nameEnd)]);
    // Names that the kernel lists, but cannot be asked for, and names that cannot be passed to it.
    if ((rest.length === 0) !== isWholeName(long!.base) || rest.includes(0)) return undefined;
    return { name: Buffer.concat([Buffer.from(prefix), rest]), value: Buffer.from(entry.subarray(nameEnd)) };
  }
}

/** Header, name and value, without padding. */
function entryLength(bytes: Buffer, at: number): number {
  return entryHeaderSize + bytes.readUInt8(at) + bytes.readUInt16LE(at + 2);
}

function* inlineEntries({ area, nid }: Inode, body: Buffer): Generator<Buffer> {
  for (let position = 0; position < body.length;) {
    const length = entryLength(body, position); // the body's length is a multiple of 4, so a header fits
    if (position + length > body.length) {
      throw corrupt(
        area.name,
        nid,
        `an xattr of ${length} bytes ends beyond the xattrs' ${body.length} bytes`,
      );
    }
    yield body.subarray(position, position + length);
    position += Math.ceil(length / 4) * 4;
  }
}

/**
 * The table of long prefixes: records of u16 length, u8 index of the short prefix, and the rest; each at a multiple of 4. `read` reads
 * what the table lies in.
 */
export async function readLongPrefixes(
  name: string,
  { count, offset }: { count: number; offset: number },
  read: (offset: number, length: number) => Promise<Buffer>,
): Promise<LongPrefix[]> {
  const found: LongPrefix[] = [];
  let position = offset;
  while (found.length < count) {
    const length = (await read(position, 2)).readUInt16LE(0);
    if (length < 1 || length > 256) {
      throw failure('CORRUPT', name, `long xattr prefix ${found.length} has ${length} bytes`);
    }
    const record = await read(position + 2, length);
    found.push({ base: record.readUInt8(0), infix: Buffer.from(record.subarray(1)) });
    position = Math.ceil((position + 2 + length) / 4) * 4;
  }
  return found;
}
