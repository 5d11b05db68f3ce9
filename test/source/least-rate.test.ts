import { afterEach, describe, expect, test, vi } from 'vitest';
import { atLeastRate, minRate } from '../../src/source/least-rate';
import { openHttpSource } from '../../src/source/http-range';
import { caught } from '../support/caught';
import { RangeServer } from '../support/range-server';

afterEach(() => {
  vi.restoreAllMocks();
});

/** Reads a body whose pieces take this many milliseconds each, and whose reader takes some of its own; how many bytes came. */
async function readPaced(
  pieces: { size: number; takes: number }[],
  time: number,
  readerTakes = 0,
): Promise<number> {
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  async function* body(): AsyncGenerator<Buffer> {
    for (const { size, takes } of pieces) {
      now += takes;
      yield Buffer.alloc(size);
    }
  }
  let bytes = 0;
  for await (const piece of atLeastRate(body(), time)) {
    bytes += piece.length;
    now += readerTakes;
  }
  return bytes;
}

const times = (count: number, size: number, takes: number) =>
  Array.from({ length: count }, () => ({ size, takes }));

describe('a body', () => {
  test('that comes a byte at a time fails after the time that counts', async () => {
    const error = await readPaced(times(100, 1, 5000), 30_000).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ message: expect.stringContaining('sends 6 bytes in 30 s') as string });
  });

  test('that becomes slow fails though much has come', async () => {
    const pieces = [...times(10, 1 << 20, 1000), ...times(100, 100, 1000)];
    await expect(readPaced(pieces, 30_000)).rejects.toThrow('less than 1024 a second');
  });

  test('may be slow at its end, or above the least rate, or have a slow reader', async () => {
    expect(await readPaced([...times(40, 1 << 20, 1000), ...times(10, 1, 1000)], 30_000)).toBe(
      (40 << 20) + 10,
    );
    expect(await readPaced(times(100, minRate, 1000), 30_000)).toBe(100 * minRate);
    expect(await readPaced(times(100, 1, 0), 30_000, 60_000)).toBe(100);
  });
});

test.each([200, 206, 404])(
  'a server that sends a byte now and then does not hold who reads (status %d)',
  async (status) => {
    const server = await RangeServer.start(Buffer.alloc(1 << 20, 'x'));
    const timers: NodeJS.Timeout[] = [];
    try {
      const source = await openHttpSource(server.url, { timeout: 200 });
      server.misbehave = (request, response) => {
        const { first, last } = request.range!;
        response.writeHead(
          status,
          status === 206 ? server.headers(first, last) : { 'content-length': 1 << 20 },
        );
        timers.push(setInterval(() => response.write('x'), 20));
        return true;
      };
      const { code, why } = await caught(() => source.read(0, 1 << 20));
      const slow = /sends \d+ bytes in \d+ s, less than 1024 a second/;
      expect([code, why]).toEqual(
        status === 404 ? ['NOT_FOUND', expect.any(String)] : ['IO', expect.stringMatching(slow)],
      );
      await source.close();
    } finally {
      timers.forEach(clearInterval);
      await server.stop();
    }
  },
);
