import { createServer, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseQueueUrl } from '../../src/service/address';
import { realClock } from '../../src/service/clock';
import { connectQueue } from '../../src/service/connection';
import type { LeaseStore } from '../../src/service/lease-store';
import { RedisLeases } from '../../src/service/redis-leases';
import { openState } from '../../src/service/state-version';
import { caught } from '../support/caught';
import { useFleet } from '../support/fleet';
import { RedisServer } from '../support/redis-server';
import { MemoryLeases } from '../support/virtual-store';
import { titleOf, whyWithout } from './support/machine';

const reason = whyWithout('redis-server');

const fleet = useFleet(reason);
let redis: Redis;
beforeAll(() => {
  if (reason === null) redis = new Redis(fleet.redis.port, '127.0.0.1');
});
afterAll(() => {
  if (reason === null) redis.disconnect();
});

describe(titleOf('the state in Redis', reason), { skip: reason !== null }, () => {
  test('of a later release is refused, and nothing of it touched', async () => {
    await redis.set('later:version', 2);
    const error = await caught(() => openState(redis, { name: 'redis://r', prefix: 'later' }));
    expect(error).toMatchObject({ code: 'UNSUPPORTED', what: 'redis://r' });
    expect(await redis.get('later:version')).toBe('2');
  });

  test('of an earlier release is migrated, by one of several programs', async () => {
    await redis.set('earlier:version', 1);
    const done: number[] = [];
    const step = (number: number) => async (): Promise<void> => {
      await realClock.sleep(50);
      done.push(number);
    };
    const open = (): Promise<void> =>
      openState(redis, { name: 'redis://r', prefix: 'earlier' }, [step(1), step(2)]);
    await Promise.all([open(), open(), open()]);
    expect(done).toEqual([1, 2]);
    expect(await redis.get('earlier:version')).toBe('3');
  });

  test('is lost where Redis throws away what it likes: one line says so', async () => {
    const forgetful = await RedisServer.start(
      join(fleet.folder, 'forgetful'),
      '--maxmemory-policy',
      'allkeys-lru',
    );
    try {
      const warnings: string[] = [];
      const onWarning = (line: string): void => void warnings.push(line);
      const connect = async (url: string): Promise<void> => {
        const opened = await connectQueue(parseQueueUrl(url, {}), { onWarning });
        opened.disconnect();
      };
      await connect(`redis://127.0.0.1:${fleet.redis.port}?prefix=kept`);
      expect(warnings).toEqual([]);
      await connect(forgetful.url);
      expect(warnings).toEqual([expect.stringMatching(/maxmemory-policy to noeviction, not allkeys-lru$/)]);
    } finally {
      await forgetful.kill();
    }
  });

  test('leases behave as those of the simulation', async () => {
    const play = async (store: LeaseStore): Promise<unknown[]> => {
      const said: unknown[] = [];
      const say = async (work: Promise<unknown>): Promise<void> => void said.push(await work);
      await say(store.claim('a', 'one', 60_000));
      await say(store.claim('a', 'one', 60_000));
      await say(store.claim('a', 'two', 60_000).then(({ state }) => state));
      await say(store.renew('a', 'two', 60_000));
      await say(store.renew('a', 'one', 60_000));
      await store.release('a', 'two');
      await say(store.claim('a', 'two', 60_000).then(({ state }) => state));
      await store.finish('a', 'one', 'result');
      await say(store.claim('a', 'two', 60_000));
      await store.forget('a', 'another');
      await say(store.claim('a', 'two', 60_000));
      await store.forget('a', 'result');
      await say(store.claim('a', 'two', 1));
      await realClock.sleep(20);
      await say(store.claim('a', 'three', 60_000));
      const waits: number[] = [];
      for (let i = 0; i < 8; i++)
        waits.push((await store.reserve('b', 10, { perSecond: 10, burst: 20 })).wait);
      said.push(waits.map((wait) => Math.round(wait / 1000)));
      return said;
    };
    expect(await play(new RedisLeases(redis, 'leases'))).toEqual(await play(new MemoryLeases(realClock)));
  });
});

describe('a server that is no use', () => {
  const hello = '%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n';
  test.each([
    ['6.0.16', hello],
    ['before 6.0', '-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n'],
  ])('is an old Redis, %s: one clear line', async (version, greeting) => {
    const info = `# Server\r\nredis_version:${version}\r\n`;
    const answers: Record<string, string> = {
      HELLO: greeting,
      INFO: `$${info.length}\r\n${info}\r\n`,
    };
    const old = createServer((socket) => {
      socket.on('data', (bytes) => {
        for (const [, command] of bytes.toString().matchAll(/\*\d+\r\n\$\d+\r\n(\w+)\r\n/g))
          socket.write(answers[command!.toUpperCase()] ?? '+OK\r\n');
      });
      socket.on('error', () => undefined);
    });
    const port = await listen(old);
    const error = await caught(() => connectQueue(parseQueueUrl(`redis://127.0.0.1:${port}`)));
    old.close();
    expect(error).toMatchObject({ code: 'UNSUPPORTED', why: expect.stringContaining(version) as string });
  });

  test.each(['http://r', 'redis://', 'redis://r/x', 'redis://r?prefix=a b', 'redis://:50%@r'])(
    '%s is no address',
    async (url) => {
      expect(await caught(() => parseQueueUrl(url, {}))).toMatchObject({ code: 'USAGE' });
    },
  );

  test('an address: what it does not say is of the environment', () => {
    expect(parseQueueUrl('rediss://r.example/3?prefix=x', { REDIS_PASSWORD: 'p' })).toEqual({
      name: 'rediss://r.example:6379/3',
      prefix: 'x',
      redis: { host: 'r.example', port: 6379, db: 3, password: 'p', tls: {} },
    });
  });
});

function listen(tcp: Server): Promise<number> {
  return new Promise((resolve) => {
    tcp.listen(0, '127.0.0.1', () => {
      resolve((tcp.address() as AddressInfo).port);
    });
  });
}
