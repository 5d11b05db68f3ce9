import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it, vi } from 'vitest';

import { failure, type SeekableErofsError } from '../../src/errors';
import { openHttpSource } from '../../src/source/http-range';
import { retryingSource, withRetries } from '../../src/source/retry';
import { transientFailure } from '../../src/source/transient';
import { caught } from '../support/caught';
import { MemorySource } from '../support/memory-source';
import { RangeServer } from '../support/range-server';
import { refusal } from '../support/refusal';

// The real one, which can tell what it was asked for: how long a pause takes in the end depends on the machine.
vi.mock('node:timers/promises', async (original) => {
  const real = await original<typeof import('node:timers/promises')>();
  return { ...real, setTimeout: vi.fn(real.setTimeout) };
});
beforeEach(() => vi.mocked(sleep).mockClear());
const pauses = (): unknown[] => vi.mocked(sleep).mock.calls.map(([milliseconds]) => milliseconds);

/** Fails with each of these in turn, then succeeds. */
function failing(...errors: Error[]) {
  return vi.fn(async () => {
    const error = errors.shift();
    if (error !== undefined) throw error;
    return 'done';
  });
}

function busy(retryAfter?: number): SeekableErofsError {
  return transientFailure('server', 'busy', retryAfter);
}

describe('retries', () => {
  it('are for faults that pass only', async () => {
    for (const code of ['CORRUPT', 'MISMATCH', 'IO', 'NOT_FOUND', 'UNSUPPORTED', 'CANCELLED'] as const) {
      const attempt = failing(failure(code, 'server', 'for good'));
      await expect(withRetries(attempt)).rejects.toThrow(refusal(code));
      expect(attempt).toHaveBeenCalledTimes(1);
    }
  });
});

describe('pauses', () => {
  it('double from one to the next, with jitter, and end with the attempts', async () => {
    for (const [random, factor] of [
      [0, 0.5],
      [0.999, 1],
    ] as const) {
      const dice = vi.spyOn(Math, 'random').mockReturnValue(random);
      vi.mocked(sleep).mockClear();
      const attempt = vi.fn(() => Promise.reject(busy()));
      await expect(withRetries(attempt, { attempts: 4, firstPause: 4 })).rejects.toThrow(
        refusal('IO', 'busy'),
      );
      expect(attempt).toHaveBeenCalledTimes(4);
      expect(pauses()).toEqual([4, 8, 16].map((pause) => expect.closeTo(pause * factor, 1) as number));
      dice.mockRestore();
    }
  });

  it('are as long as the server asks, but not for ever', async () => {
    expect(await withRetries(failing(busy(15)), { firstPause: 1 })).toBe('done');
    expect(pauses()).toEqual([15]);
    const patient = failing(busy(3_600_000));
    await expect(withRetries(patient)).rejects.toThrow(refusal('IO', 'busy'));
    expect(patient).toHaveBeenCalledTimes(1);
  });

  it('are a minute at most, unless another limit is given', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.999999);
    vi.mocked(sleep).mockResolvedValue(undefined);
    try {
      await caught(() => withRetries(() => Promise.reject(busy()), { attempts: 12 }));
      expect(pauses().map((pause) => Math.round(pause as number))).toEqual([
        ...[200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200],
        ...[60_000, 60_000],
      ]);
      vi.mocked(sleep).mockClear();
      const limits = { attempts: 4, firstPause: 40, maxPause: 100 };
      await caught(() => withRetries(() => Promise.reject(busy()), limits));
      expect(pauses().map((pause) => Math.round(pause as number))).toEqual([40, 80, 100]);
    } finally {
      vi.mocked(sleep).mockReset();
      vi.restoreAllMocks();
    }
  });

  it.each([
    [undefined, 60_000],
    [100, 100],
  ])('that a server asks for are kept up to the limit: %s', async (maxPause, limit) => {
    vi.mocked(sleep).mockResolvedValue(undefined);
    expect(await withRetries(failing(busy(limit)), { maxPause })).toBe('done');
    expect(pauses()).toEqual([limit]);
    const impatient = failing(busy(limit + 1));
    await expect(withRetries(impatient, { maxPause })).rejects.toThrow(refusal('IO', 'busy'));
    expect(impatient).toHaveBeenCalledTimes(1);
    vi.mocked(sleep).mockReset();
  });

  it('go on for a time that is given, whatever the number of attempts', async () => {
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now);
    vi.spyOn(Math, 'random').mockReturnValue(0.999999);
    vi.mocked(sleep).mockImplementation(async (pause) => void (now += pause!));
    try {
      const attempt = vi.fn(() => Promise.reject(busy()));
      await caught(() => withRetries(attempt, { time: 60_000 }));
      expect([now > 50_000, now <= 60_000]).toEqual([true, true]);
      expect(Math.max(...(pauses() as number[]))).toBeLessThanOrEqual(5000);
      attempt.mockClear();
      await caught(() => withRetries(attempt, { time: 0 }));
      expect(attempt).toHaveBeenCalledTimes(1);
      attempt.mockClear();
      await caught(() => withRetries(attempt, { time: 60_000, attempts: 3 }));
      expect(attempt).toHaveBeenCalledTimes(3);
    } finally {
      vi.mocked(sleep).mockReset();
      vi.restoreAllMocks();
    }
  });

  it('end at once with the signal', async () => {
    const attempt = failing(busy(30_000));
    const controller = new AbortController();
    const result = caught(() => withRetries(attempt, {}, controller.signal));
    setTimeout(() => {
      controller.abort();
    }, 20);
    expect((await result).code).toBe('CANCELLED');
    expect(attempt).toHaveBeenCalledTimes(1);
  });
});

describe('a source with retries', () => {
  it('is the same source', async () => {
    const inner = new MemorySource(Buffer.from('0123456789'));
    const close = vi.spyOn(inner, 'close');
    const source = retryingSource(inner);
    expect(source).toMatchObject({ size: 10, name: 'memory' });
    expect((await source.read(2, 3)).toString()).toBe('234');
    await source.close();
    expect(close).toHaveBeenCalledOnce();
  });

  it('gets over a server with troubles of every kind', async () => {
    const server = await RangeServer.start(Buffer.from('0123456789'));
    const source = retryingSource(await openHttpSource(server.url, { timeout: 200 }), {
      attempts: 6,
      firstPause: 1,
    });
    server.takeRanges();
    server.misbehave = (_, response, count) => {
      if (count === 0) response.writeHead(429, { 'retry-after': '0' }).end();
      else if (count === 1) response.writeHead(503).end('try later');
      else if (count === 2) response.destroy();
      else if (count === 3) {
        response.writeHead(206, server.headers(2, 4)).write('2', () => response.destroy());
      }
      return count <= 4; // and once it is silent
    };
    expect((await source.read(2, 3)).toString()).toBe('234');
    expect(server.takeRanges()).toEqual(['2-4', '2-4', '2-4', '2-4', '2-4', '2-4']);
    server.misbehave = (_, response) => {
      response.writeHead(503).end();
      return true;
    };
    await expect(source.read(2, 3)).rejects.toThrow(refusal('IO', 'status 503'));
    expect(server.takeRanges()).toHaveLength(6);
    server.etag = '"two"';
    server.misbehave = () => false;
    await expect(source.read(2, 3)).rejects.toThrow(refusal('MISMATCH'));
    expect(server.takeRanges()).toHaveLength(1);
    await source.close();
    await server.stop();
  });
});
