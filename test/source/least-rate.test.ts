import { afterEach, describe, expect, test, vi } from 'vitest';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { createHttpClient } from '../../src/source/http-client';
import { atLeastRate, minRate, takenAtLeastRate } from '../../src/source/least-rate';
import { openHttpSource } from '../../src/source/http-range';
import { caught } from '../support/caught';
import { RangeServer } from '../support/range-server';

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
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

describe('a body that is sent', () => {
  /** Sends this many bytes to one who takes so many at once, each time after some milliseconds; what stopped it, and what was taken. */
  async function send(bytes: number, takes: number, after: number, sourceTakes = 0) {
    vi.useFakeTimers();
    const sleep = (time: number): Promise<void> => vi.advanceTimersByTimeAsync(time).then(() => undefined);
    async function* body(): AsyncGenerator<Buffer> {
      for (let left = bytes; left > 0; left -= takes) {
        await sleep(sourceTakes);
        yield Buffer.alloc(Math.min(left, takes));
      }
    }
    let [stopped, taken] = [null as Error | null, 0];
    for await (const piece of takenAtLeastRate(body(), 30_000, (error) => (stopped = error))) {
      await sleep(after);
      if (stopped !== null) break;
      taken += piece.length;
    }
    expect(vi.getTimerCount()).toBe(0);
    return { stopped, taken };
  }

  test('fails where nothing is taken, or too little', async () => {
    for (const [takes, after] of [
      [16_384, 600_000],
      [16_384, 20_000],
      [100, 1000],
    ] as const) {
      const { stopped } = await send(1 << 20, takes, after);
      expect(stopped).toMatchObject({ message: expect.stringMatching(/takes \d+ bytes in 3\d s/) as string });
    }
  });

  test('may be taken at the least rate, and be slow to get', async () => {
    expect(await send(1 << 20, 16_384, 10_000)).toEqual({ stopped: null, taken: 1 << 20 });
    expect(await send(1 << 14, 100, 10, 60_000)).toEqual({ stopped: null, taken: 1 << 14 });
  });
});

test('a server that stops reading does not hold who writes', async () => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket.on('error', () => undefined).pause()));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const client = await createHttpClient({ timeout: 200 });
  try {
    const body = Buffer.alloc(64 << 20);
    const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const headers = { 'content-length': String(body.length) };
    // An answer may take long, when all was taken.
    const sent = client.send(url, { method: 'PUT', headers, body, timeout: 250_000 });
    await expect(sent).rejects.toMatchObject({
      code: 'IO',
      why: expect.stringMatching(/takes \d+ bytes/) as string,
      cause: { name: 'TransientFault' },
    });
  } finally {
    await client.close();
    for (const socket of sockets) socket.destroy();
    await new Promise((done) => server.close(done));
  }
});
