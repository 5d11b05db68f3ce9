import type { RedisOptions } from 'ioredis';
import { failure, type SeekableErofsError } from '../errors';

/** Where a server is, and as whom to speak to it. */
export type RedisSettings = Omit<RedisOptions, 'replyMapping'>;

/** What a queue's URL says; the part before the query names a server and a database, `?prefix=` a queue in it. */
export interface QueueAddress {
  /** Without password: what messages call it. */
  name: string;
  prefix: string;
  redis: RedisSettings;
}

const defaultPrefix = 'seekable-erofs';

/**
 * Reads `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE][?prefix=NAME]`, or `rediss://` for TLS; REDIS_USERNAME and REDIS_PASSWORD are what a
 * URL does not say. USAGE for anything else.
 */
export function parseQueueUrl(text: string, env: NodeJS.ProcessEnv = process.env): QueueAddress {
  const url = URL.canParse(text) ? new URL(text) : null;
  const refuse = (why: string): SeekableErofsError =>
    failure('USAGE', text, why, 'redis://host:6379, rediss:// for TLS');
  if (url === null || !['redis:', 'rediss:'].includes(url.protocol) || url.hostname === '')
    throw refuse('it is no address of Redis');
  const database = /^\/?(\d{0,4})$/.exec(url.pathname)?.[1];
  if (database === undefined) throw refuse('its path must be the number of a database');
  const prefix = url.searchParams.get('prefix') ?? defaultPrefix;
  if (!/^[\w.-]{1,64}$/.test(prefix)) throw refuse('a prefix is letters, digits, dots and dashes');
  const decoded = (text: string): string => {
    try {
      return decodeURIComponent(text);
    } catch {
      throw refuse('a percent sign in its user or password begins no %XX');
    }
  };
  const username = decoded(url.username) || env['REDIS_USERNAME'];
  const password = decoded(url.password) || env['REDIS_PASSWORD'];
  const port = Number(url.port || 6379);
  const db = Number(database);
  return {
    name: `${url.protocol}//${url.hostname}:${port}/${db}`,
    prefix,
    redis: {
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port,
      db,
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      ...(url.protocol === 'rediss:' && { tls: {} }),
    },
  };
}
