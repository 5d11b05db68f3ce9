/** One entry of a tar, as its headers have it. Strings have one character (0–255) a byte. */
export interface TarEntryBytes {
  name: string;
  /** Typeflag; default: '0', a file. */
  type?: string;
  target?: string;
  /** Default: 0644. */
  mode?: number;
  uid?: number;
  gid?: number;
  /** Seconds, as PAX writes them where that needs more than the header can hold; default: 1700000000. */
  mtime?: string;
  device?: [major: number, minor: number];
  content?: string;
  xattrs?: Record<string, string>;
  /** More PAX records. */
  pax?: Record<string, string>;
}

const blockSize = 512;

/** The bytes of a tar, with whatever its entries ask for: unlike tar programs, it corrects nothing. */
export function tarBytes(entries: readonly TarEntryBytes[]): Buffer {
  return Buffer.concat([...entries.flatMap(entryBlocks), Buffer.alloc(2 * blockSize)]);
}

function entryBlocks(entry: TarEntryBytes): Buffer[] {
  const { name, target = '', mtime = '1700000000', xattrs = {}, content = '' } = entry;
  const records: Record<string, string> = { ...entry.pax };
  if (name.length > 100 || name === '') records['path'] = name;
  if (target.length > 100) records['linkpath'] = target;
  if (!/^\d{1,10}$/.test(mtime)) records['mtime'] = mtime;
  for (const [key, value] of Object.entries(xattrs)) records[`SCHILY.xattr.${key}`] = value;
  const data = Buffer.from(content, 'latin1');
  const own = [tarHeader(entry, data.length), padded(data)];
  if (Object.keys(records).length === 0) return own;
  const text = Buffer.from(Object.entries(records).map(paxRecord).join(''), 'latin1');
  return [tarHeader({ name: 'PaxHeaders/x', type: 'x' }, text.length), padded(text), ...own];
}

function padded(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((blockSize - (data.length % blockSize)) % blockSize)]);
}

/** `LENGTH KEY=VALUE\n`, where the length counts itself. */
function paxRecord([key, value]: [string, string]): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (`${length}${rest}`.length !== length) length = `${length}${rest}`.length;
  return `${length}${rest}`;
}

/** The header of an entry with `size` bytes of data: in base 256 where 11 octal digits can't hold it. */
export function tarHeader(entry: TarEntryBytes, size: number): Buffer {
  const { name, type = '0', target = '', mode = 0o644, uid = 0, gid = 0, mtime = '1700000000' } = entry;
  const block = Buffer.alloc(blockSize);
  const octal = (value: number, offset: number, width: number): void => {
    block.write(value.toString(8).padStart(width - 1, '0'), offset, 'latin1');
  };
  block.write(name.slice(0, 100), 0, 'latin1');
  octal(mode, 100, 8);
  octal(uid, 108, 8);
  octal(gid, 116, 8);
  if (size < 2 ** 33) {
    octal(size, 124, 12);
  } else {
    block.writeUInt8(0x80, 124);
    block.writeBigUInt64BE(BigInt(size), 128);
  }
  octal(/^\d{1,10}$/.test(mtime) ? Number(mtime) : 0, 136, 12);
  block.write(`        ${type}`, 148, 'latin1');
  block.write(target.slice(0, 100), 157, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  octal(entry.device?.[0] ?? 0, 329, 8);
  octal(entry.device?.[1] ?? 0, 337, 8);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}
