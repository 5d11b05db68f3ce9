import { expect, test } from 'vitest';
import { mountList } from '../../../src/containerd/snapshotter/mount-list';

const folders = { work: '/s/w/9', empty: '/s/l/9' };

test('a container writes to its own folder over its layers', () => {
  const [mount, ...others] = mountList({ ...folders, lower: ['/s/l/2', '/s/l/1'], upper: '/s/l/9' });
  expect(others).toEqual([]);
  expect(mount).toMatchObject({ type: 'overlay', source: 'overlay' });
  expect(mount!.options).toEqual(
    expect.arrayContaining(['lowerdir=/s/l/2:/s/l/1', 'upperdir=/s/l/9', 'workdir=/s/w/9']),
  );
  // Extended attributes of an image must not lead the kernel elsewhere.
  expect(mount!.options).toEqual(expect.arrayContaining(['redirect_dir=nofollow', 'metacopy=off']));
});

test('a view has nothing to write to', () => {
  const [mount] = mountList({ ...folders, lower: ['/s/l/2', '/s/l/1'], upper: null });
  expect(mount!.options.join()).not.toContain('upperdir');
  expect(mountList({ ...folders, lower: ['/s/l/1'], upper: null })).toEqual([
    { type: 'bind', source: '/s/l/1', options: ['rbind', 'ro'] },
  ]);
});

test('what has no layers below is its folder', () => {
  expect(mountList({ ...folders, lower: [], upper: '/s/l/9' })).toEqual([
    { type: 'bind', source: '/s/l/9', options: ['rbind', 'rw'] },
  ]);
  expect(mountList({ ...folders, lower: [], upper: null })[0]!.options).toContain('ro');
});

test('folders of data alone come last, and only with them files say where their data is', () => {
  const data = ['/s/l/3', '/s/l/4'];
  const [mount, ...others] = mountList({ ...folders, lower: ['/s/l/2'], data, upper: null });
  expect(others).toEqual([]);
  expect(mount!.options).toEqual(
    expect.arrayContaining(['lowerdir=/s/l/2::/s/l/3::/s/l/4', 'redirect_dir=on', 'metacopy=on']),
  );
});
