import type { Redis } from 'ioredis';
import type { Claim, LeaseStore, SharedRate } from './lease-store';

/** Seconds that the result of a layer is kept after its last use. */
const resultTime = 90 * 86_400;
/** Redis counts in whole milliseconds; a bucket that is full again needs no memory. */
const bucketMargin = 1000;

// KEYS: result, lease. ARGV: holder, milliseconds, seconds of a result.
const claim = `
local result = redis.call('GET', KEYS[1])
if result then
  redis.call('EXPIRE', KEYS[1], ARGV[3])
  return {'made', result}
end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return {'held', redis.call('PTTL', KEYS[2])} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {'ours'}`;
// KEYS: lease. ARGV: holder, milliseconds.
const renew = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`;
// KEYS: result, lease. ARGV: holder, result, seconds of a result.
const finish = `
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return 1`;
// KEYS: one. ARGV: the value that goes.
const removeIf = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`;
// KEYS: bucket, workers. ARGV: milliseconds that the amount takes, milliseconds of the burst. The bucket has when it will be empty.
const reserve = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local empty = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
local wait = math.max(0, empty - tonumber(ARGV[2]) - now)
empty = empty + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.3f', empty), 'PX', math.ceil(empty - now) + ${bucketMargin})
return {math.ceil(wait), redis.call('ZCOUNT', KEYS[2], now - 60000, '+inf')}`;

/** Leases, results and rates in Redis; `prefix` stands before all names. */
export class RedisLeases implements LeaseStore {
  constructor(
    private readonly redis: Redis,
    private readonly prefix: string,
  ) {}

  async claim(name: string, holder: string, time: number): Promise<Claim> {
    const keys = [this.key('layer', name), this.key('lease', name)];
    const [state, value] = (await this.redis.eval(claim, 2, ...keys, holder, time, resultTime)) as [
      Claim['state'],
      (string | number)?,
    ];
    if (state === 'made') return { state, result: String(value) };
    return state === 'held' ? { state, left: Math.max(0, Number(value)) } : { state };
  }

  async renew(name: string, holder: string, time: number): Promise<boolean> {
    return (await this.redis.eval(renew, 1, this.key('lease', name), holder, time)) === 1;
  }

  async finish(name: string, holder: string, result: string): Promise<void> {
    const keys = [this.key('layer', name), this.key('lease', name)];
    await this.redis.eval(finish, 2, ...keys, holder, result, resultTime);
  }

  async release(name: string, holder: string): Promise<void> {
    await this.redis.eval(removeIf, 1, this.key('lease', name), holder);
  }

  async forget(name: string, result: string): Promise<void> {
    await this.redis.eval(removeIf, 1, this.key('layer', name), result);
  }

  async reserve(bucket: string, amount: number, { perSecond, burst }: SharedRate) {
    const keys = [this.key('limit', bucket), `${this.prefix}:workers`];
    const takes = (amount * 1000) / perSecond;
    const atOnce = (burst * 1000) / perSecond;
    const [wait, workers] = (await this.redis.eval(reserve, 2, ...keys, takes, atOnce)) as [number, number];
    return { wait, workers };
  }

  private key(kind: string, name: string): string {
    return `${this.prefix}:${kind}:${name}`;
  }
}
