import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { at } from '../../e2e/workspace';
import { documentOf } from '../../e2e/run-cli';
import { local, target } from '../../conformance/support/lazy-image';

/** What readers did. */
export interface Reading {
  reads: number;
  bytes: number;
  errors: number;
  /** Seconds of the read that took longest. */
  longest: number;
}

/** What readers may see of a server or a registry that is not there. */
export const deadServer = ['EIO', 'ENOTCONN', 'ENOENT', 'ECONNABORTED'] as const;

/** A reader has this much more time than `--io-timeout`; in seconds. */
const grace = 5;
let started = 0;

/** An eager mount of the image, to compare with. */
export async function mountEager(): Promise<string> {
  const eager = at('eager');
  await documentOf(['mount', local, eager, '--verity', 'off', '--state', at('eager-state')]);
  return eager;
}

export async function umountEager(): Promise<void> {
  await documentOf(['umount', at('eager'), '--state', at('eager-state')]);
}

interface ReadersOptions {
  /** Of the mount, in seconds: a read that takes longer by 5 s fails the readers. */
  ioTimeout: number;
  /** Names of the errors that a read may end with. */
  allowed?: readonly string[];
  /** Default: 4. */
  count?: number;
}

/** Processes that read the lazy mount at random, each read compared with the eager mount. */
export class Readers {
  private readonly stop = at(`stop-${started++}`);
  private readonly all: Promise<Reading[]>;
  private readonly children;
  /** Milliseconds after which readers that were told to stop hang. */
  private readonly limit: number;

  /** Resolves when all of them have begun. */
  static async start(eager: string, options: ReadersOptions): Promise<Readers> {
    const readers = new Readers(eager, options);
    const began = readers.children.map((child) => once(child.stdout, 'data'));
    await Promise.race([Promise.all(began), readers.all]);
    return readers;
  }

  private constructor(eager: string, { ioTimeout, allowed = [], count = 4 }: ReadersOptions) {
    this.children = Array.from({ length: count }, (_, i) => {
      const seed = `${Math.floor(Math.random() * 1e9)}-${i}`;
      const args = [seed, `${ioTimeout + grace}`, this.stop, target, eager, ...allowed];
      return spawn('python3', [join(__dirname, 'compare.py'), ...args], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    });
    this.limit = (ioTimeout + 2 * grace) * 1000;
    this.all = Promise.all(
      this.children.map(async (child) => {
        const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
        if (!output.endsWith('}\n')) throw new Error(`a reader failed: ${errors}`);
        return JSON.parse(output.trimEnd().split('\n').at(-1)!) as Reading;
      }),
    );
    this.all.catch(() => undefined); // whoever finishes is told
  }

  /** Rejects when a reader has failed; does nothing otherwise. */
  async check(): Promise<void> {
    await Promise.race([this.all, sleep(0)]);
  }

  /** Ends them. What all of them did; rejects when one failed, or hangs. */
  async finish(): Promise<Reading> {
    writeFileSync(this.stop, '');
    const hangs = new AbortController();
    const late = sleep(this.limit, undefined, { signal: hangs.signal }).then(() => {
      for (const child of this.children) child.kill('SIGKILL');
      throw new Error('a reader hangs');
    });
    late.catch(() => undefined);
    const done = await Promise.race([this.all, late]).finally(() => {
      hangs.abort();
    });
    return sum(done);
  }
}

/** Together. */
export function sum(readings: readonly Reading[]): Reading {
  return readings.reduce((all, one) => ({
    reads: all.reads + one.reads,
    bytes: all.bytes + one.bytes,
    errors: all.errors + one.errors,
    longest: Math.max(all.longest, one.longest),
  }));
}
