import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  runBatch,
  type BatchJobEvent,
  type BatchOptions,
  type BatchParts,
  type BatchProgressEvent,
  type BatchResult,
} from '../../../src/convert/batch/batch';
import type { ConvertOptions } from '../../../src/convert/convert-options';
import type { ConvertResult } from '../../../src/convert/convert-result';
import { Journal } from '../../../src/convert/batch/journal';
import { failure } from '../../../src/errors';
import { transientFailure } from '../../../src/source/transient';
import { caught } from '../../support/caught';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'batch-'));
  file = join(folder, 'list.json');
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

type Convert = BatchParts['convert'];

/** What a conversion is made to result in: a layer of its own and one that all share. */
function resultOf(source: string, destination: string): ConvertResult {
  const layer = (digest: string, size: number) => ({
    source: `src ${digest}`,
    digest,
    size,
    diffId: '',
    uncompressedSize: 0,
    reused: false,
  });
  const layers = [layer('shared', 100), layer(source, 10)];
  const leftOut = { attestations: 1, artifacts: 0 };
  return {
    source,
    destination,
    digest: `digest of ${source}`,
    manifests: [{ platform: 'linux/amd64', digest: '', layers }],
    summary: {
      sourceDigest: `digest at ${source}`,
      layers: 2,
      bytesIn: 300,
      bytesOut: 110,
      seconds: 1,
      leftOut,
    },
  };
}

const succeed: Convert = async (source, destination) => {
  await nextTurn();
  return resultOf(source, destination);
};

/** Writes a list of these images, and runs it. */
function runList(
  names: string[],
  convert: Convert = succeed,
  options: BatchOptions = {},
): Promise<BatchResult> {
  const list = names.map((name) => ({ source: `oci:from:${name}`, destination: `oci:to:${name}` }));
  writeFileSync(file, JSON.stringify(list));
  const registryFor = (): never => {
    throw new Error('no template asked for it');
  };
  return runBatch(file, options, { convert, registryFor, retry: { attempts: 3, firstPause: 1 } });
}

const journal = (): { event: string; key: string }[] =>
  readFileSync(`${file}.journal`, 'utf8')
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => JSON.parse(line) as { event: string; key: string });

const countOf = (event: string): number => journal().filter((entry) => entry.event === event).length;

/** Fails the images of these names with these errors; the others succeed. */
const failing =
  (errors: Record<string, Error>): Convert =>
  (source, destination, options) => {
    const error = errors[source.slice('oci:from:'.length)];
    if (error === undefined) return succeed(source, destination, options);
    return Promise.reject(error);
  };

test('converts all, in the order of the list, and adds up what it did', async () => {
  const { jobs, summary } = await runList(['a', 'b', 'c']);
  expect(jobs).toEqual(
    ['a', 'b', 'c'].map((name) => ({
      source: `oci:from:${name}`,
      destination: `oci:to:${name}`,
      status: 'done',
      digest: `digest of oci:from:${name}`,
    })),
  );
  expect(summary).toMatchObject({ done: 3, skipped: 0, failed: 0, layers: 6, distinctLayers: 4 });
  expect(summary).toMatchObject({ bytesIn: 900, bytesOut: 330, bytesSaved: 200 });
  expect([countOf('start'), countOf('done'), countOf('failed')]).toEqual([3, 3, 0]);
  expect(journal().filter(({ event }) => event === 'done')).toContainEqual({
    event: 'done',
    key: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
    digest: 'digest of oci:from:a',
    sourceDigest: 'digest at oci:from:a',
  });
});

test('a second run skips what is done, with its digest, and converts what is new', async () => {
  await runList(['a', 'b']);
  const convert = vi.fn(succeed);
  const { jobs } = await runList(['new', 'b', 'a'], convert);
  expect(jobs.map(({ status }) => status)).toEqual(['done', 'skipped', 'skipped']);
  expect(jobs[2]).toMatchObject({ source: 'oci:from:a', digest: 'digest of oci:from:a' });
  expect(convert.mock.calls.map(([source]) => source)).toEqual(['oci:from:new']);
});

test('other options are another result, other resources are not', async () => {
  await runList(['a']);
  expect((await runList(['a'], succeed, { threads: 1, jobs: 1 })).jobs[0]!.status).toBe('skipped');
  expect((await runList(['a'], succeed, { defaults: { level: 9 } })).jobs[0]!.status).toBe('done');
});

test('restart converts everything again', async () => {
  await runList(['a']);
  expect((await runList(['a'], succeed, { restart: true })).jobs[0]!.status).toBe('done');
  expect(countOf('done')).toBe(1);
});

test('a job that fails does not end the others, and is tried again in the next run', async () => {
  const convert = failing({ b: failure('CORRUPT', 'layer', 'is no tar', 'get another') });
  const { jobs, summary } = await runList(['a', 'b', 'c'], convert);
  expect(jobs[1]).toEqual({
    source: 'oci:from:b',
    destination: 'oci:to:b',
    status: 'failed',
    error: { code: 'CORRUPT', message: 'layer: is no tar (get another)' },
  });
  expect(summary).toMatchObject({ done: 2, failed: 1 });
  expect(countOf('failed')).toBe(1);
  const { jobs: second } = await runList(['a', 'b', 'c']);
  expect(second.map(({ status }) => status)).toEqual(['skipped', 'done', 'skipped']);
});

test('a system error is a failure of the job', async () => {
  const error = Object.assign(new Error('EACCES: permission denied, open'), {
    code: 'EACCES',
    syscall: 'open',
  });
  const { jobs } = await runList(['a'], failing({ a: error }));
  expect(jobs[0]).toMatchObject({ status: 'failed', error: { code: 'IO' } });
});

test('a fault of the program ends the run', async () => {
  await expect(runList(['a', 'b'], failing({ a: new TypeError('x is undefined') }))).rejects.toThrow(
    TypeError,
  );
  expect(countOf('failed')).toBe(0);
});

test('failures that may pass are tried again, others not', async () => {
  const attempts = new Map<string, number>();
  const errors: Record<string, [Error, number]> = {
    flaky: [transientFailure('docker://x', 'connection reset'), 2],
    down: [transientFailure('docker://x', 'connection refused'), 9],
    full: [failure('NO_SPACE', 'x', 'full'), 9],
    bad: [failure('MISMATCH', 'x', 'wrong digest'), 9],
  };
  const convert: Convert = (source, ...rest) => {
    const name = source.slice('oci:from:'.length);
    const attempt = (attempts.get(name) ?? 0) + 1;
    attempts.set(name, attempt);
    const [error, times] = errors[name]!;
    return attempt <= times ? Promise.reject(error) : succeed(source, ...rest);
  };
  const states: string[] = [];
  const onJob = ({ job, state }: BatchJobEvent): number => states.push(`${job} ${state}`);
  const { jobs } = await runList(Object.keys(errors), convert, { jobs: 1, onJob });
  expect(jobs.map(({ status }) => status)).toEqual(['done', 'failed', 'failed', 'failed']);
  expect([...attempts.values()]).toEqual([3, 3, 1, 1]);
  expect(states).toEqual([
    ...['0 started', '0 retried', '0 retried', '0 done', '1 started', '1 retried', '1 retried', '1 failed'],
    ...['2 started', '2 failed', '3 started', '3 failed'],
  ]);
  expect([countOf('start'), countOf('done'), countOf('failed')]).toEqual([4, 1, 3]);
});

test.each([1, 3])('%i images at once, no more, and never the same twice', async (jobs) => {
  const seen: string[] = [];
  let now = 0;
  let most = 0;
  const convert: Convert = async (source, ...rest) => {
    seen.push(source);
    most = Math.max(most, ++now);
    await vi.waitFor(() => {
      expect(most).toBeGreaterThanOrEqual(jobs);
    });
    now--;
    return succeed(source, ...rest);
  };
  const names = Array.from({ length: 10 }, (_, i) => `${i}`);
  await runList(names, convert, { jobs });
  expect(most).toBe(jobs);
  expect(seen).toEqual(names.map((name) => `oci:from:${name}`));
});

test('that a job has begun is on the disk before it begins, and its end before anybody hears of it', async () => {
  const seen: number[] = [];
  const convert: Convert = (...args) => {
    seen.push(countOf('start'));
    return succeed(...args);
  };
  const onJob = ({ state }: BatchJobEvent): void => {
    if (state === 'done') seen.push(-countOf('done'));
  };
  await runList(['a', 'b'], convert, { jobs: 1, onJob });
  expect(seen).toEqual([1, -1, 2, -2]);
});

test('all conversions share one pool', async () => {
  const pools = new Set<unknown>();
  await runList(['a', 'b', 'c'], (source, destination, options) => {
    pools.add(options.pool);
    return succeed(source, destination, options);
  });
  expect(pools.size).toBe(1);
  expect(pools.has(undefined)).toBe(false);
});

test('progress and warnings say which job they are of', async () => {
  const progress: BatchProgressEvent[] = [];
  const warnings: string[] = [];
  const convert: Convert = (source, destination, options) => {
    options.onProgress?.({ phase: 'encode', item: 'x', done: 1, total: 2, unit: 'bytes' });
    options.onWarning?.('odd');
    return succeed(source, destination, options);
  };
  await runList(['a', 'b'], convert, {
    jobs: 1,
    onProgress: (event) => progress.push(event),
    onWarning: (line) => warnings.push(line),
  });
  expect(progress).toEqual(
    [0, 1].map((job) => ({ job, phase: 'encode', item: 'x', done: 1, total: 2, unit: 'bytes' })),
  );
  expect(warnings).toEqual(['oci:from:a: odd', 'oci:from:b: odd']);
});

/** A conversion that ends when it is cancelled, and not before. */
const endless: Convert = async (_source, _destination, { signal }: ConvertOptions) => {
  if (!signal!.aborted) await once(signal!, 'abort');
  throw failure('CANCELLED', 'layer', 'cancelled');
};

test('cancelled, it begins no more jobs, cancels those under way, and can go on later', async () => {
  const controller = new AbortController();
  const started: string[] = [];
  const convert: Convert = async (source, ...rest) => {
    started.push(source);
    if (source === 'oci:from:a') return succeed(source, ...rest);
    if (started.length === 3) controller.abort();
    return endless(source, ...rest);
  };
  const error = await caught(() =>
    runList(['a', 'b', 'c', 'd'], convert, { jobs: 2, signal: controller.signal }),
  );
  expect(error.code).toBe('CANCELLED');
  expect(started).toEqual(['oci:from:a', 'oci:from:b', 'oci:from:c']);
  expect([countOf('start'), countOf('done'), countOf('failed')]).toEqual([3, 1, 0]);
  const { jobs } = await runList(['a', 'b', 'c', 'd']);
  expect(jobs.map(({ status }) => status)).toEqual(['skipped', 'done', 'done', 'done']);
});

test('cancelled before it begins, it starts nothing', async () => {
  const convert = vi.fn(succeed);
  const signal = AbortSignal.abort();
  expect(await caught(() => runList(['a'], convert, { signal }))).toMatchObject({ code: 'CANCELLED' });
  expect(convert).not.toHaveBeenCalled();
});

test('what is finished when the cancellation comes counts as finished', async () => {
  const controller = new AbortController();
  const convert: Convert = (source, destination, options) => {
    controller.abort();
    return succeed(source, destination, options);
  };
  await caught(() => runList(['a', 'b'], convert, { jobs: 1, signal: controller.signal }));
  expect(countOf('done')).toBe(1);
});

test('a cancellation ends the pause before another attempt', async () => {
  const controller = new AbortController();
  const convert: Convert = () => {
    setImmediate(() => {
      controller.abort();
    });
    return Promise.reject(transientFailure('x', 'busy', 50_000));
  };
  const error = await caught(() => runList(['a'], convert, { signal: controller.signal }));
  expect(error.code).toBe('CANCELLED');
});

test('a journal that can not be written ends the run, and what is under way', async () => {
  vi.spyOn(Journal.prototype, 'append').mockImplementation(({ event }) =>
    event === 'done' ? Promise.reject(failure('NO_SPACE', 'journal', 'full')) : Promise.resolve(),
  );
  const convert: Convert = (source, ...rest) =>
    (source === 'oci:from:a' ? succeed : endless)(source, ...rest);
  expect(await caught(() => runList(['a', 'b', 'c'], convert, { jobs: 2 }))).toMatchObject({
    code: 'NO_SPACE',
  });
});

test('two runs of one list', async () => {
  const controller = new AbortController();
  const first = caught(() => runList(['a'], endless, { signal: controller.signal }));
  await vi.waitFor(() => {
    expect(countOf('start')).toBe(1);
  });
  const convert = vi.fn(succeed);
  expect(await caught(() => runList(['a'], convert))).toMatchObject({
    code: 'FAILED',
    what: `${file}.journal`,
  });
  expect(convert).not.toHaveBeenCalled();
  controller.abort();
  await first;
  expect((await runList(['a'])).jobs[0]!.status).toBe('done');
});

test.each([0, -1, 1.5, Number.NaN])('%d images at once is refused', async (jobs) => {
  expect(await caught(() => runList(['a'], succeed, { jobs }))).toMatchObject({ code: 'USAGE' });
});

test('a list that makes no sense leaves no journal', async () => {
  writeFileSync(file, '[]');
  const using: BatchParts = { convert: succeed, registryFor: vi.fn(), retry: {} };
  expect(await caught(() => runBatch(file, {}, using))).toMatchObject({ code: 'USAGE' });
  expect(() => journal()).toThrow('ENOENT');
});
