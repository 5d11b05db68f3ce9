import { describe, expect, it } from 'vitest';
import { LruSpace } from '../../src/erofs/lru-map';
import { ChunkCache } from '../../src/layer/chunk-cache';

/** What of chunks 0 to 4 a cache holds; asking counts as use, so the last one asked for is the newest. */
function held(cache: ChunkCache): number[] {
  return [0, 1, 2, 3, 4].filter((index) => cache.get(index) !== undefined);
}

describe('chunk cache', () => {
  it('counts a chunk that is put twice once', () => {
    const cache = new ChunkCache(100);
    cache.put(0, Buffer.alloc(40));
    for (let i = 0; i < 3; i++) {
      cache.put(1, Buffer.alloc(60));
      expect(cache.bytes).toBe(100);
    }
    expect(held(cache)).toEqual([0, 1]);
    cache.put(1, Buffer.alloc(10));
    expect([cache.bytes, cache.get(1)?.length]).toEqual([50, 10]);
  });

  it('drops what was used longest ago, a chunk that was put again last', () => {
    const cache = new ChunkCache(100);
    for (const index of [0, 1, 0]) cache.put(index, Buffer.alloc(50));
    cache.put(2, Buffer.alloc(50));
    expect(held(cache)).toEqual([0, 2]);
    cache.get(0);
    cache.put(3, Buffer.alloc(50));
    expect([held(cache), cache.bytes]).toEqual([[0, 3], 100]);
  });

  it('keeps the last one, however large, and nothing after clear()', () => {
    const cache = new ChunkCache(100);
    cache.put(0, Buffer.alloc(100));
    cache.put(1, Buffer.alloc(101));
    expect([held(cache), cache.bytes]).toEqual([[1], 101]);
    cache.put(2, Buffer.alloc(100));
    expect([held(cache), cache.bytes]).toEqual([[2], 100]);
    cache.clear();
    expect([held(cache), cache.bytes]).toEqual([[], 0]);
  });
});

it('caches that share their room forget what was used least recently of all', () => {
  const space = new LruSpace(100);
  const caches = Array.from({ length: 20 }, () => new ChunkCache(space));
  for (const cache of caches) cache.put(0, Buffer.alloc(30));
  const bytes = (): number => caches.reduce((sum, cache) => sum + cache.bytes, 0);
  expect(bytes()).toBe(90);
  expect(caches[17]!.get(0)).toBeDefined();
  caches[0]!.put(1, Buffer.alloc(60));
  expect(caches.map((cache) => cache.bytes).filter((held) => held > 0)).toEqual([60, 30]);
  expect(caches[17]!.bytes).toBe(30);
  caches[17]!.clear();
  caches[1]!.put(0, Buffer.alloc(40));
  expect(bytes()).toBe(100);
});
