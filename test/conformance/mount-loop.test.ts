import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { detachLoop } from '../../src/mount/kernel/loop';
import { native } from '../../src/native/binding';
import { at, useFolders } from '../e2e/workspace';
import { hasProgram, run, titleOf } from './support/machine';

// The claim: of loop devices, only what a crash of ours left is ever detached.

useFolders();

const setFd = 0x4c00;
const clearFd = 0x4c01;

function missing(): string | null {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!existsSync('/dev/loop-control')) return 'there is no /dev/loop-control';
  return hasProgram('losetup') ? null : 'needs losetup';
}

const reason = missing();

describe.skipIf(reason !== null)(titleOf('a loop device', reason), () => {
  let device: string;
  beforeEach(() => {
    for (const name of ['ours', 'theirs']) writeFileSync(at(name), Buffer.alloc(4096));
  });
  afterEach(() => {
    if (isAttached()) run('losetup', ['--detach', device]);
  });

  const isAttached = (): boolean => existsSync(`/sys/block/${device.slice(5)}/loop/backing_file`);

  /** What a crash between the two steps of old kernels leaves: a file, and no more. */
  function attachHalf(file: string): void {
    device = run('losetup', ['--find']).toString().trim();
    const [loop, backing] = [openSync(device, 'r'), openSync(file, 'r')];
    try {
      native.sys.ioctl(loop, setFd, backing);
    } finally {
      closeSync(backing);
      closeSync(loop);
    }
  }

  test('that we left is detached', async () => {
    attachHalf(at('ours'));
    expect(await detachLoop(device, [at('theirs'), at('ours')])).toBe(true);
    expect(isAttached()).toBe(false);
    expect(await detachLoop(device, [at('ours')])).toBe(false);
  });

  test('with another file is none of ours any more', async () => {
    attachHalf(at('theirs'));
    expect(await detachLoop(device, [at('ours')])).toBe(false);
    expect(isAttached()).toBe(true);
    const loop = openSync(device, 'r');
    native.sys.ioctl(loop, clearFd, 0);
    closeSync(loop);
  });

  test('that somebody else made of the same file stays', async () => {
    device = run('losetup', ['--find', '--show', '--read-only', at('ours')])
      .toString()
      .trim();
    expect(await detachLoop(device, [at('ours')])).toBe(false);
    expect(readFileSync(`/sys/block/${device.slice(5)}/loop/backing_file`, 'utf8')).toContain('ours');
  });
});
