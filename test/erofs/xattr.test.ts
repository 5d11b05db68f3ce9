import { describe, expect, it } from 'vitest';

import { refusal } from '../support/refusal';
import { Sketch } from './sketch';

function entry(index: number, name: string, value: string): Buffer {
  const bytes = Buffer.alloc(Math.ceil((4 + name.length + value.length) / 4) * 4);
  bytes.writeUInt8(name.length, 0);
  bytes.writeUInt8(index, 1);
  bytes.writeUInt16LE(value.length, 2);
  bytes.write(name + value, 4, 'latin1');
  return bytes;
}

function body(shared: number[], ...entries: Buffer[]): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt8(shared.length, 4);
  return Buffer.concat([header, Buffer.from(Uint32Array.from(shared).buffer), ...entries]);
}

/** The xattrs of `/f`, whose shared ones lie in block 2, and long prefixes in block 3. */
async function xattrs(bytes: Buffer, change?: (image: Buffer) => void): Promise<Record<string, string>> {
  const sketch = new Sketch().directory(Sketch.root, 1, [['f', 40]]);
  sketch.bytes.writeUInt32LE(2, 1024 + 44);
  sketch.inode(40, { body: bytes, xattrCount: bytes.length === 0 ? 0 : (bytes.length - 12) / 4 + 1 });
  change?.(sketch.bytes);
  const found = await (await sketch.open()).xattrs('/f');
  return Object.fromEntries(
    found.map(({ name, value }) => [name.toString('latin1'), value.toString('latin1')]),
  );
}

describe('xattrs', () => {
  it('are none without a body', async () => {
    expect(await xattrs(Buffer.alloc(0))).toEqual({});
  });

  it('have the names that their index says', async () => {
    const found = await xattrs(
      body(
        [],
        entry(6, 'c', '3'),
        entry(1, 'a', '1'),
        entry(4, 'b', ''),
        entry(2, '', 'A'),
        entry(3, '', 'D'),
      ),
    );
    expect(found).toEqual({
      'security.c': '3',
      'user.a': '1',
      'trusted.b': '',
      'system.posix_acl_access': 'A',
      'system.posix_acl_default': 'D',
    });
    expect(Object.keys(found)).toEqual([...Object.keys(found)].sort());
  });

  it('are invisible where the kernel could not show them', async () => {
    const hidden = [
      entry(0, 'a', '1'),
      entry(5, 'a', '1'),
      entry(7, 'a', '1'),
      entry(0x80, 'a', '1'),
      entry(1, '', '1'),
      entry(2, 'a', '1'),
      entry(1, 'a\0b', '1'),
    ];
    expect(await xattrs(body([], ...hidden, entry(1, 'k', 'v')))).toEqual({ 'user.k': 'v' });
  });

  it('may be shared, and inline ones win', async () => {
    const found = await xattrs(body([4, 0], entry(1, 'k', 'inline')), (image) => {
      entry(1, 'k', 'shared').copy(image, 2 * 4096);
      entry(4, 's', 'value').copy(image, 2 * 4096 + 16);
    });
    expect(found).toEqual({ 'user.k': 'inline', 'trusted.s': 'value' });
  });

  it('may have long prefixes', async () => {
    const entries = [entry(0x81, '', '1'), entry(0x80, 'x', '2'), entry(0x82, 'y', '3')];
    const found = await xattrs(body([], ...entries), (image) => {
      image.writeUInt8(2, 1024 + 91);
      image.writeUInt32LE((3 * 4096) / 4, 1024 + 92);
      image.write('\x04\0\x04ab.\0\0\x04\0\x06def', 3 * 4096, 'latin1'); // length with the base's index
    });
    expect(found).toEqual({ 'trusted.ab.x': '2', 'security.def': '1' });
  });

  it.each([
    ['a header alone', body([]), 'UNSUPPORTED'],
    ['more shared ones than fit', Object.assign(body([1]), { 4: 255 }), 'CORRUPT'],
    ['an entry longer than the body', body([], Object.assign(entry(1, 'k', 'v'), { 2: 255 })), 'CORRUPT'],
    ['a shared one outside of the image', body([0xffff_ffff]), 'CORRUPT'],
  ] as [string, Buffer, 'CORRUPT'][])('with %s are refused', async (_, bytes, code) => {
    await expect(xattrs(bytes)).rejects.toEqual(refusal(code));
  });

  it('are refused beyond 1 MiB, to the byte', async () => {
    // 104 shared entries of 10082 bytes, header and name included, and an inline one: 1 MiB, or a byte more.
    const shared = entry(1, 'k', 'v'.repeat(10_077));
    const rest = (1 << 20) - 104 * 10_082 - 5;
    const of = (length: number) =>
      xattrs(body(new Array<number>(104).fill(4096), entry(1, 'i', 'x'.repeat(length))), (image) =>
        shared.copy(image, 6 * 4096),
      );
    expect((await of(rest))['user.i']).toHaveLength(rest);
    await expect(of(rest + 1)).rejects.toEqual(refusal('UNSUPPORTED', '1 MiB'));
  });

  it('are refused in masses that sharing makes cheap', async () => {
    const many = xattrs(body(Array.from({ length: 255 }, () => 4096)), (image) => {
      entry(1, 'k', 'v'.repeat(20_000)).copy(image, 6 * 4096); // block 2 and 4 times 4096
    });
    await expect(many).rejects.toEqual(refusal('UNSUPPORTED', '1 MiB'));
  });
});
