import { expect, test } from 'vitest';
import { mountsAt, parseMountinfo } from '../../src/fs/mountinfo';

const text = `21 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw
40 21 0:40 / /a\\040b\\134 ro,nodev - overlay seekable-erofs-1 ro,lowerdir=/x
43 42 0:43 / /m rw - tmpfs none rw
41 21 7:0 / /m ro - erofs /dev/loop0 ro
42 41 253:1 / /m ro - erofs /dev/dm-1 ro
`;

test('fields, with blanks and backslashes in names', () => {
  const entries = parseMountinfo(text);
  expect(entries).toHaveLength(5);
  expect(entries[0]).toEqual({
    id: 21,
    parent: 1,
    device: '254:0',
    target: '/',
    type: 'ext4',
    source: '/dev/vda',
  });
  expect(entries[1]).toMatchObject({ target: '/a b\\', type: 'overlay', source: 'seekable-erofs-1' });
});

test('mounts upon each other, the one that is seen first, in whatever order they are listed', () => {
  const lines = text.trimEnd().split('\n');
  for (const order of [lines, [...lines].reverse()]) {
    const here = mountsAt(parseMountinfo(order.join('\n')), '/m');
    expect(here.map(({ id }) => id)).toEqual([43, 42, 41]);
  }
  expect(mountsAt(parseMountinfo(text), '/none')).toEqual([]);
});
