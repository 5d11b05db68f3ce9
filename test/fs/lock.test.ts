import { existsSync, mkdtempSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { acquireLock } from '../../src/fs/lock';
import { refusal } from '../support/refusal';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lock-'));
  path = join(folder, 'lock');
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

describe('lock', () => {
  it('is held by one at a time', async () => {
    let holders = 0;
    let most = 0;
    const turn = async (): Promise<void> => {
      const lock = await acquireLock(path);
      holders++;
      most = Math.max(most, holders);
      await sleep(5);
      holders--;
      await lock.release();
    };
    await Promise.all(Array.from({ length: 12 }, turn));
    expect(most).toBe(1);
    expect(existsSync(path)).toBe(false);
  });

  it('is taken from a file that a crash left', async () => {
    writeFileSync(path, '');
    const lock = await acquireLock(path, { timeout: 0 });
    await lock.release();
    expect(existsSync(path)).toBe(false);
  });

  it('stays with the file that has the name', async () => {
    const first = await acquireLock(path);
    unlinkSync(path);
    const second = await acquireLock(path, { timeout: 0 });
    await first.release();
    await expect(acquireLock(path, { timeout: 0 })).rejects.toThrow(refusal('FAILED'));
    await second.release();
    expect(existsSync(path)).toBe(false);
  });

  it('is waited for no longer than asked', async () => {
    const lock = await acquireLock(path);
    await expect(acquireLock(path, { timeout: 100 })).rejects.toThrow(
      refusal('FAILED', `${path}: another process held the lock for 0.1 s`),
    );
    await lock.release();
  });

  it('is waited for until the signal', async () => {
    const lock = await acquireLock(path);
    await expect(acquireLock(path, { signal: AbortSignal.timeout(50) })).rejects.toThrow(
      refusal('CANCELLED', path),
    );
    await expect(acquireLock(path, { signal: AbortSignal.abort() })).rejects.toThrow(
      refusal('CANCELLED', path),
    );
    await lock.release();
  });

  it('follows no symbolic link and needs a folder', async () => {
    symlinkSync(join(folder, 'elsewhere'), path);
    await expect(acquireLock(path)).rejects.toThrow(refusal('IO', path));
    expect(existsSync(join(folder, 'elsewhere'))).toBe(false);
    await expect(acquireLock(join(folder, 'none', 'lock'))).rejects.toThrow(refusal('NOT_FOUND'));
  });
});
