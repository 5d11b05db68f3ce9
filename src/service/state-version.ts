import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { failure } from '../errors';
import { checkRecordVersion } from '../fs/record-version';
import { withLease } from './fleet-layers';
import { realClock } from './clock';
import { RedisLeases } from './redis-leases';
import type { QueueAddress } from './address';

/** Brings what a release wrote to the form of the next one. It may be called again on what it has done in part. */
type Migration = (redis: Redis, prefix: string) => Promise<void>;

/** `migrations[i]` leads from version i + 1 to version i + 2; the last one leads to what this release writes. */
const migrations: readonly Migration[] = [];

const leaseTime = 30_000; // milliseconds

/**
 * Sees to it that the state in Redis is of this release's version: an earlier one is migrated by one program while others wait, of a later
 * one nothing is touched.
 * @throws UNSUPPORTED for what a later release wrote
 */
export async function openState(
  redis: Redis,
  { name, prefix }: Pick<QueueAddress, 'name' | 'prefix'>,
  steps: readonly Migration[] = migrations,
): Promise<void> {
  const current = steps.length + 1;
  const key = `${prefix}:version`;
  const read = async (): Promise<number> => {
    const text = await redis.get(key);
    const found = Number(text ?? current);
    if (!Number.isSafeInteger(found) || found < 1)
      throw failure(
        'CORRUPT',
        name,
        `the version of its state is "${text}"`,
        'give the queue another prefix',
      );
    checkRecordVersion(
      name,
      found,
      current,
      'use the release that wrote it, or give the queue another prefix',
    );
    return found;
  };
  await redis.setnx(key, current);
  if ((await read()) === current) return;
  await alone(redis, prefix, async () => {
    for (let version = await read(); version < current; version++) {
      await steps[version - 1]!(redis, prefix);
      await redis.set(key, version + 1);
    }
  });
}

/** Runs `work` while no other program does. */
async function alone(redis: Redis, prefix: string, work: () => Promise<void>): Promise<void> {
  const leases = new RedisLeases(redis, prefix);
  const lease = { name: 'migration', holder: randomUUID(), time: leaseTime };
  while ((await leases.claim(lease.name, lease.holder, lease.time)).state !== 'ours') {
    await realClock.sleep(200);
  }
  await withLease(leases, realClock, lease, work);
}
