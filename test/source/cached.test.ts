import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { FrameCache } from '../../src/source/cached';
import { refusal } from '../support/refusal';

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'cached-')), 'cache');
});
afterEach(() => {
  rmSync(join(folder, '..'), { recursive: true });
});

function frameOf(seed: number, size = 1000): { frame: Buffer; checksum: Buffer; path: string } {
  const frame = Buffer.alloc(size, seed);
  const checksum = createHash('sha512').update(frame).digest();
  const hex = checksum.toString('hex');
  return { frame, checksum, path: join(folder, 'sha512', hex.slice(0, 2), hex) };
}

function files(): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

describe('frame cache', () => {
  it('gives back what was put into it, by whichever hash, also to the next one', async () => {
    const cache = await FrameCache.open(folder);
    const { frame, checksum, path } = frameOf(1);
    expect(await cache.get(checksum, frame.length)).toBeNull();
    await cache.put(checksum, frame);
    await cache.put(checksum, frame);
    expect(files()).toEqual([path]);
    const short = createHash('sha256').update(frame).digest();
    await cache.put(short, frame);
    const next = await FrameCache.open(folder);
    expect((await next.get(checksum, frame.length))!.equals(frame)).toBe(true);
    expect((await next.get(short, frame.length))!.equals(frame)).toBe(true);
    expect(await next.get(checksum, frame.length - 1)).toBeNull();
  });

  it('never gives a damaged frame', async () => {
    const cache = await FrameCache.open(folder);
    const { frame, checksum, path } = frameOf(1);
    for (const damaged of [Buffer.alloc(1000, 2), frame.subarray(1), Buffer.alloc(0)]) {
      await cache.put(checksum, frame);
      writeFileSync(path, damaged);
      expect(await cache.get(checksum, frame.length)).toBeNull();
      await cache.put(checksum, frame);
      expect((await cache.get(checksum, frame.length))!.equals(frame)).toBe(true);
    }
    rmSync(path);
    mkdirSync(path);
    expect(await cache.get(checksum, frame.length)).toBeNull();
  });

  it('keeps to its size: what was not used for longest goes', async () => {
    const frames = Array.from({ length: 10 }, (_, i) => frameOf(i));
    const cache = await FrameCache.open(folder, { maxBytes: 10_000 });
    for (const [i, { frame, checksum, path }] of frames.entries()) {
      await cache.put(checksum, frame);
      utimesSync(path, 1000 + i, 1000 + i);
    }
    expect(files()).toHaveLength(10);
    await cache.get(frames[0]!.checksum, 1000);
    // Another process, which counts anew.
    const other = await FrameCache.open(folder, { maxBytes: 10_000 });
    const added = frameOf(10);
    await other.put(added.checksum, added.frame);
    const kept = [frames[0]!, ...frames.slice(3), added].map(({ path }) => path).sort();
    expect(files()).toEqual(kept);
    await cache.put(frameOf(11, 10_001).checksum, frameOf(11, 10_001).frame);
    expect(files()).toEqual(kept);
  });

  it('keeps to its size when many add to it at once', async () => {
    const cache = await FrameCache.open(folder, { maxBytes: 5_000 });
    await Promise.all(
      Array.from({ length: 40 }, (_, i) => frameOf(i)).map((f) => cache.put(f.checksum, f.frame)),
    );
    expect(files().length).toBeLessThanOrEqual(5);
    expect(files().length).toBeGreaterThan(0);
  });

  it('removes old unfinished files of its own, and nothing else', async () => {
    mkdirSync(join(folder, 'sha512', 'ab'), { recursive: true });
    const old = join(folder, 'sha512', 'ab', '.seekable-erofs-0123456789abcdef');
    const young = join(folder, 'sha512', 'ab', '.seekable-erofs-1123456789abcdef');
    const foreign = [join(folder, 'thesis.tex'), join(folder, 'sha512', 'ab', 'thesis.tex')];
    for (const path of [old, young, ...foreign]) writeFileSync(path, Buffer.alloc(5_000));
    for (const path of [old, ...foreign]) utimesSync(path, 1000, 1000);
    const cache = await FrameCache.open(folder, { maxBytes: 1_500 });
    const { frame, checksum, path } = frameOf(1);
    await cache.put(checksum, frame);
    expect(files()).toEqual([young, ...foreign, path].sort());
  });

  it('costs no read when it can not be written', async () => {
    const onWarning = vi.fn();
    const cache = await FrameCache.open(folder, { onWarning });
    writeFileSync(join(folder, 'sha512'), 'in the way');
    const { frame, checksum } = frameOf(1);
    await cache.put(checksum, frame);
    await cache.put(checksum, frame);
    expect(await cache.get(checksum, frame.length)).toBeNull();
    expect(onWarning).toHaveBeenCalledOnce();
    expect(onWarning.mock.calls[0]![0]).toMatch(/cache: .*; no more frames are cached there$/);
    await expect(FrameCache.open(join(folder, 'sha512', 'x'))).rejects.toThrow(refusal('IO'));
  });

  it('is read where it may not be written', async () => {
    const cache = await FrameCache.open(folder);
    const { frame, checksum, path } = frameOf(1);
    await cache.put(checksum, frame);
    chmodSync(path, 0o444);
    expect((await cache.get(checksum, frame.length))!.equals(frame)).toBe(true);
  });
});
