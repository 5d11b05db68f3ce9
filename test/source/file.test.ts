import { execFileSync } from 'node:child_process';
import { closeSync, fstatSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { native } from '../../src/native/binding';
import { openFileSource } from '../../src/source/file';
import { sliceSource } from '../../src/source/slice';
import { refusal } from '../support/refusal';

let folder: string;
let path: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'source-'));
  path = join(folder, 'digits');
  writeFileSync(path, '0123456789');
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('file source', () => {
  it('is not empty because the file was emptied while it was opened', async () => {
    const cut = join(folder, 'cut');
    const { openToRead } = native.files;
    const opening = vi.spyOn(native.files, 'openToRead');
    for (const moment of ['between', 'after']) {
      writeFileSync(cut, '0123456789');
      opening.mockImplementationOnce(async (...args) => {
        const opened = await openToRead(...args);
        truncateSync(cut, 0);
        return moment === 'between' ? { ...opened, size: 0 } : opened;
      });
      // What is cut later is noticed when it is read.
      const reading = openFileSource(cut).then((source) =>
        source.read(0, source.size).finally(() => source.close()),
      );
      await expect(reading, moment).rejects.toThrow(refusal('CORRUPT', cut));
    }
    opening.mockRestore();
  });

  it('closes its descriptor once, when nobody reads any more: its number belongs to another file soon', async () => {
    const source = await openFileSource(path);
    const reading = source.read(0, 10);
    const closing = source.close();
    expect((await reading).toString()).toBe('0123456789');
    await closing;
    const other = openSync(path, 'r');
    expect(other).toBe(source.fd);
    await source.close();
    expect(() => fstatSync(other)).not.toThrow();
    await expect(source.read(0, 1)).rejects.toThrow(refusal('IO', path));
    closeSync(other);
  });

  it('reads any part, and tells native code where it is', async () => {
    const source = await openFileSource(path);
    expect(source).toMatchObject({ size: 10, name: path, offset: 0 });
    expect(source.fd).toBeGreaterThan(2);
    expect((await source.read(0, 10)).toString()).toBe('0123456789');
    const parts = await Promise.all([source.read(3, 2), source.read(9, 1), source.read(10, 0)]);
    expect(parts.map(String)).toEqual(['34', '9', '']);
    await source.close();
  });

  it('refuses what is not inside of it, before it takes memory', async () => {
    const source = await openFileSource(path, 'layer');
    for (const [offset, length] of [
      [9, 2],
      [11, 0],
      [-1, 2],
      [0, -1],
      [0.5, 1],
      [NaN, 1],
      [0, 2 ** 60],
      [2 ** 53, 1],
    ] as const) {
      await expect(source.read(offset, length)).rejects.toThrow(
        refusal('CORRUPT', `layer: ${length} bytes at offset ${offset}`),
      );
    }
    await source.close();
  });

  it('notices that the file got shorter', async () => {
    const shrinking = join(folder, 'shrinking');
    writeFileSync(shrinking, 'abcdef');
    const source = await openFileSource(shrinking);
    truncateSync(shrinking, 4);
    await expect(source.read(1, 5)).rejects.toThrow(
      refusal('CORRUPT', 'it ends at offset 4, 2 bytes too early'),
    );
    await source.close();
  });

  it('stops for a signal', async () => {
    const source = await openFileSource(path);
    await expect(source.read(0, 1, AbortSignal.abort())).rejects.toThrow(refusal('CANCELLED'));
    await source.close();
  });

  it('opens regular files only', async () => {
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    await expect(openFileSource(fifo)).rejects.toThrow(refusal('USAGE', 'no regular file'));
    await expect(openFileSource(folder)).rejects.toThrow(refusal('USAGE', 'directory'));
    await expect(openFileSource(join(folder, 'none'))).rejects.toThrow(refusal('NOT_FOUND', 'none'));
  });

  it('says when reading fails', async () => {
    const source = await openFileSource(path, 'layer');
    await source.close();
    await expect(source.read(0, 1)).rejects.toThrow(refusal('IO', 'layer: '));
  });
});

describe('slice', () => {
  it('is a part with bounds of its own', async () => {
    const source = await openFileSource(path);
    const slice = sliceSource(source, 2, 5, 'part');
    expect(slice).toMatchObject({ size: 5, name: 'part' });
    expect((await slice.read(1, 4)).toString()).toBe('3456');
    await expect(slice.read(1, 5)).rejects.toThrow(refusal('CORRUPT', 'part: 5 bytes at offset 1'));
    await expect(slice.read(-1, 2)).rejects.toThrow(refusal('CORRUPT', 'part: '));
    await slice.close();
    expect((await source.read(0, 1)).toString()).toBe('0');
    expect(() => sliceSource(source, 6, 5)).toThrow(refusal('CORRUPT', '5 bytes at offset 6'));
    await source.close();
  });
});
