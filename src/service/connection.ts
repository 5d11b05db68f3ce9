import type { Redis } from 'ioredis';
import { failure, fromSystemError, SeekableErofsError } from '../errors';
import type { WarningOptions } from '../job';
import type { QueueAddress, RedisSettings } from './address';
import { optional, queuePackages } from './optional';
import { openState } from './state-version';

/** Commands that BullMQ and the leases need. */
const leastVersion = '6.2.0';
/** The longest pause before a server that is away is asked again, in milliseconds. */
const maxPause = 2000;
const connectTimeout = 10_000;

/** How every connection behaves once Redis has answered: commands wait for a server that is away, and are sent again. */
export function connectionOptions({
  redis,
}: QueueAddress): RedisSettings & { retryStrategy: (times: number) => number; maxRetriesPerRequest: null } {
  return {
    ...redis,
    maxRetriesPerRequest: null,
    connectTimeout,
    keepAlive: 10_000,
    retryStrategy: (times) => Math.min(50 * 2 ** times, maxPause) * (0.5 + Math.random() / 2),
  };
}

/**
 * Connects, and sees to it that this program can use what is there. Later outages are waited for, and told to `onWarning`, once each.
 * @throws IO when there is no answer or a wrong password, UNSUPPORTED for an old Redis and for the state of a newer program
 */
export async function connectQueue(
  address: QueueAddress,
  { onWarning }: WarningOptions = {},
): Promise<Redis> {
  const { Redis } = await optional(() => import('ioredis'), 'a queue', queuePackages);
  await firstContact(
    new Redis({ ...address.redis, connectTimeout, lazyConnect: true, retryStrategy: null }),
    address,
    onWarning,
  );
  const redis = new Redis(connectionOptions(address));
  watch(redis, address, onWarning);
  return redis;
}

/** A connection that is not tried again, so that what is wrong is said at once. */
async function firstContact(
  redis: Redis,
  address: QueueAddress,
  onWarning: WarningOptions['onWarning'],
): Promise<void> {
  let first: Error | undefined;
  redis.on('error', (error: Error) => (first ??= error));
  try {
    await redis.connect();
    await checkServer(await redis.info(), address, onWarning);
    await openState(redis, address);
  } catch (error) {
    throw asFailure(address, first ?? (error as Error), error);
  } finally {
    redis.disconnect();
  }
}

function asFailure({ name }: QueueAddress, first: Error, error: unknown): SeekableErofsError {
  if (error instanceof SeekableErofsError) return error;
  const { message, code } = first as NodeJS.ErrnoException;
  if (/^(WRONGPASS|NOAUTH|ERR invalid password|ERR AUTH)/.test(message)) {
    const hint = 'redis://USER:PASSWORD@HOST, or REDIS_USERNAME and REDIS_PASSWORD';
    return failure('IO', name, 'it does not take this user and password', hint);
  }
  if (/^ERR unknown command .?HELLO/i.test(message)) return tooOld(name, 'before 6.0');
  if (message.startsWith('NOPERM'))
    return failure('IO', name, message, 'see docs/service.md for what the user must be allowed');
  if (code !== undefined) return fromSystemError(name, first);
  return failure('IO', name, `it does not answer as Redis does: ${message}`);
}

function checkServer(
  info: string,
  { name }: QueueAddress,
  onWarning: WarningOptions['onWarning'],
): Promise<void> {
  const field = (key: string): string | undefined => new RegExp(`^${key}:(.*?)\r?$`, 'm').exec(info)?.[1];
  const version = field('redis_version') ?? '0';
  if (isOlder(version, leastVersion)) {
    return Promise.reject(tooOld(name, version));
  }
  const policy = field('maxmemory_policy');
  if (policy !== undefined && policy !== 'noeviction') {
    onWarning?.(
      `${name} forgets jobs when its memory is full: set maxmemory-policy to noeviction, not ${policy}`,
    );
  }
  return Promise.resolve();
}

function tooOld(name: string, version: string): SeekableErofsError {
  const why = `its version is ${version}, and ${leastVersion} is the least that works`;
  return failure('UNSUPPORTED', name, why, 'Redis 6.2 or later, or Valkey');
}

function isOlder(version: string, least: string): boolean {
  const numbers = (text: string): number[] => text.split('.').map((part) => Number.parseInt(part, 10) || 0);
  const [a, b] = [numbers(version), numbers(least)];
  for (const [i, wanted] of b.entries()) {
    if ((a[i] ?? 0) !== wanted) return (a[i] ?? 0) < wanted;
  }
  return false;
}

/** Says once when the server is away, and once when it is back. */
function watch(redis: Redis, { name }: QueueAddress, onWarning: WarningOptions['onWarning']): void {
  let isAway = false;
  redis.on('error', () => undefined); // 'close' comes as well
  redis.on('close', () => {
    if (isAway || redis.status === 'end') return;
    isAway = true;
    onWarning?.(`${name} is away: what is under way goes on, the rest waits for it`);
  });
  redis.on('ready', () => {
    if (isAway) onWarning?.(`${name} is back`);
    isAway = false;
  });
}
