import { beforeEach, expect, test, vi } from 'vitest';
import { withDm, type DeviceMapper } from '../../src/mount/kernel/dm-control';
import { detachLoop } from '../../src/mount/kernel/loop';
import { readMounts } from '../../src/fs/mountinfo';
import { undoLayer } from '../../src/mount/release';
import type { MountState } from '../../src/mount/state';
import { native } from '../../src/native/binding';

vi.mock('../../src/mount/kernel/dm-control');
vi.mock('../../src/mount/kernel/loop');
vi.mock('../../src/fs/mountinfo', async (original) => ({
  ...(await original<typeof import('../../src/fs/mountinfo')>()),
  readMounts: vi.fn(),
}));

const place = '/layers/key/m';
const record = {
  dm: { name: 'name', uuid: 'uuid' },
  loops: ['/dev/loop1', '/dev/loop2'],
  backing: 'loop',
  files: ['/image'],
};
const state = { mountPoint: () => place, readLayer: () => Promise.resolve(record) } as unknown as MountState;

let done: string[];
beforeEach(() => {
  done = [];
  vi.clearAllMocks();
  const mount = { id: 1, parent: 0, device: '253:0', target: place, type: 'erofs', source: '/dev/dm-0' };
  vi.mocked(readMounts).mockResolvedValue([mount]);
  vi.spyOn(native.sys, 'unmount').mockImplementation((target) => void done.push(`unmount ${target}`));
  const remove = (uuid: string): string => {
    done.push(`remove ${uuid}`);
    return 'removed';
  };
  vi.mocked(withDm).mockImplementation((use) => use({ remove } as unknown as DeviceMapper));
  vi.mocked(detachLoop).mockImplementation(async (path) => {
    done.push(`detach ${path}`);
    return true;
  });
});

// A loop device that the dm-verity device still uses can't be let go, and the dm-verity device not below a mount.
test('a layer is undone from the top: the mount, its dm-verity device, then its loop devices', async () => {
  expect(await undoLayer(state, 'key')).toEqual(['erofs', 'dm', 'loop']);
  expect(done).toEqual([`unmount ${place}`, 'remove uuid', 'detach /dev/loop1', 'detach /dev/loop2']);
});

test('only the loop devices of the record are detached, and only while they hold its files', async () => {
  await undoLayer(state, 'key');
  expect(vi.mocked(detachLoop).mock.calls).toEqual(record.loops.map((loop) => [loop, record.files]));
});
