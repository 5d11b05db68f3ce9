import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { checkCleanLayout, checkLayout, looksLikeLayout } from '../conformance/support/layout-check';
import { startCli } from '../conformance/support/running';
import { HeldImage } from '../support/held-image';
import { documentOf, runCli, runJson } from './run-cli';
import { makeTar, noise, writeLayout } from './sample';
import { imageNames, writeSharedImages } from './support/shared-images';
import { at, expectFailure, folder, keys, put, useFolders } from './workspace';

useFolders();

interface Result {
  jobs: { source: string; destination: string; status: string; digest?: string; error?: object }[];
}

const listOf = (names: string[]): string =>
  JSON.stringify(names.map((name) => ({ source: `oci:source:${name}`, destination: `oci:out:${name}` })));

const run = (...flags: string[]): ReturnType<typeof runJson<Result>> =>
  runJson<Result>(['batch', 'list.yaml', '--chunk-size', '64KiB', ...flags], { cwd: folder });

interface Entry {
  event?: string;
  key?: string;
  digest?: string;
}

/** The journal's events; a torn last line is none. */
function journal(): Entry[] {
  if (!existsSync(at('list.yaml.journal'))) return [];
  const lines = readFileSync(at('list.yaml.journal'), 'utf8').split('\n').slice(1, -1);
  return lines.map((line) => JSON.parse(line) as Entry);
}

const doneKeys = (): string[] =>
  journal().flatMap(({ event, key }) => (event === 'done' && key !== undefined ? [key] : []));

test('--dry-run says what would be done, skipped and fail, and writes nothing', async () => {
  const [one, two] = imageNames(2);
  await writeSharedImages(at('source'), 2);
  await put('list.yaml', listOf([one!]));
  expect((await run()).exitCode).toBe(0);
  await put('list.yaml', listOf([one!, two!, 'missing']));
  const before = readdirSync(folder, { recursive: true }).sort();
  const journalBefore = readFileSync(at('list.yaml.journal'));
  interface Planned {
    jobs: { status: string; total?: { convert: number }; digest?: string; error?: { code: string } }[];
    total: { convert: number; bytesWritten: number };
  }
  const plan = await runJson<Planned>(['batch', 'list.yaml', '--chunk-size', '64KiB', '--dry-run'], {
    cwd: folder,
  });
  const { jobs, total } = plan.document;
  expect([plan.exitCode, jobs.map(({ status }) => status)]).toEqual([1, ['skipped', 'planned', 'failed']]);
  expect([jobs[0]!.digest, jobs[2]!.error!.code]).toEqual([
    expect.stringMatching(/^sha256:/) as string,
    'NOT_FOUND',
  ]);
  expect(jobs[1]!.total!.convert).toBeGreaterThan(0);
  expect(total.convert).toBe(jobs[1]!.total!.convert);
  expect(readdirSync(folder, { recursive: true }).sort()).toEqual(before);
  expect(readFileSync(at('list.yaml.journal'))).toEqual(journalBefore);

  const again = await runCli(['batch', 'list.yaml', '--dry-run', '--restart'], { cwd: folder });
  expect(again.stdout.toString().match(/^planned/gm)).toHaveLength(2);
  await expectFailure(['batch', 'list.yaml', '--dry-run', '--report'], 2, 'USAGE');
});

test('a list in YAML: its document, its journal, its layout; and again, with nothing left to do', async () => {
  await writeSharedImages(at('source'), 4);
  await put(
    'list.yaml',
    `defaults: { dm-verity: true }
jobs:
${imageNames(4)
  .map((name) => `  - source: oci:source:${name}\n    destination: oci:out:${name}\n`)
  .join('')}`,
  );
  const first = await run();
  expect(first.exitCode, first.stderr).toBe(0);
  expect(keys(first.document)).toEqual(['jobs']);
  expect(first.document.jobs.map(({ destination }) => destination)).toEqual(
    imageNames(4).map((name) => `oci:out:${name}`),
  );
  for (const job of first.document.jobs) {
    expect(keys(job)).toEqual(['destination', 'digest', 'source', 'status']);
    expect(job).toMatchObject({ status: 'done', digest: expect.stringMatching(/^sha256:/) as string });
  }
  expect(checkCleanLayout(at('out'))).toEqual(imageNames(4));
  for (const name of imageNames(4)) {
    const verified = await documentOf<{ layers: object[] }>(['verify', `oci:out:${name}`], { cwd: folder });
    expect(verified.layers).toMatchObject([{ merkle: 'ok' }, { merkle: 'ok' }, { merkle: 'ok' }]);
  }
  const second = await run();
  expect(second.exitCode).toBe(0);
  expect(second.document.jobs).toEqual(first.document.jobs.map((job) => ({ ...job, status: 'skipped' })));
  const restarted = await run('--restart', '--jobs', '1');
  expect(restarted.document.jobs).toEqual(first.document.jobs);
});

test('the result of each is what convert makes of it alone', async () => {
  await writeSharedImages(at('source'), 2);
  await put('list.yaml', listOf(imageNames(2)));
  const { document } = await run('--level', '7');
  for (const [i, name] of imageNames(2).entries()) {
    const args = ['convert', `oci:source:${name}`, `oci:alone-${i}`, '--chunk-size', '64KiB', '--level', '7'];
    const { digest } = await documentOf<{ digest: string }>(args, { cwd: folder });
    expect(document.jobs[i]!.digest).toBe(digest);
  }
});

test('a layer that images share is converted once, by whichever comes first', async () => {
  await writeSharedImages(at('source'), 10);
  await put('list.yaml', listOf(imageNames(10)));
  const args = ['batch', 'list.yaml', '--jobs', '5', '--progress', 'json'];
  const { exitCode, stderr } = await runCli(args, { cwd: folder });
  expect(exitCode, stderr).toBe(0);
  const encoders = new Map<string, Set<number>>();
  for (const line of stderr.trimEnd().split('\n')) {
    const { phase, item, job } = JSON.parse(line) as { phase: string; item: string; job: number };
    if (phase === 'encode') encoders.set(item, (encoders.get(item) ?? new Set()).add(job));
  }
  expect(encoders.size).toBe(15);
  expect([...encoders.values()].map(({ size }) => size)).toEqual(Array.from({ length: 15 }, () => 1));
});

test('what fails is reported at the end, with exit 1, and left for the next run', async () => {
  await writeSharedImages(at('source'), 3);
  await put('list.yaml', listOf(['image-00', 'none', 'image-02']));
  const { exitCode, document, stderr } = await run();
  expect(exitCode).toBe(1);
  expect(document.jobs.map(({ status }) => status)).toEqual(['done', 'failed', 'done']);
  expect(keys(document.jobs[1]!)).toEqual(['destination', 'error', 'source', 'status']);
  expect(document.jobs[1]!.error).toMatchObject({ code: 'NOT_FOUND' });
  expect(stderr).toMatch(/^error: list\.yaml: 1 of 3 images failed; .*"none".*\n$/);
  expect(checkCleanLayout(at('out'))).toEqual(['image-00', 'image-02']);
  const again = await run();
  expect(again.document.jobs.map(({ status }) => status)).toEqual(['skipped', 'failed', 'skipped']);
});

test('for a reader: a line for each image, and the whole in numbers', async () => {
  await writeSharedImages(at('source'), 3);
  await put('list.yaml', listOf(imageNames(3)));
  const { stdout, stderr, exitCode } = await runCli(['batch', 'list.yaml', '--progress', 'plain'], {
    cwd: folder,
  });
  expect(exitCode, stderr).toBe(0);
  const lines = stdout.toString().trimEnd().split('\n');
  expect(lines).toHaveLength(4);
  expect(lines[0]).toMatch(/^done {2}oci:source:image-00 {2}oci:out:image-00 {2}sha256:[0-9a-f]{12}$/);
  expect(lines[3]).toMatch(/^3 images: 9 layers, 7 different, .* saved by sharing; .* in, .* out .*MB\/s/);
  expect(stderr.trimEnd().split('\n')).toHaveLength(3);
  expect(stderr).toMatch(/^\[1\/3\] done {5}oci:source:image-0\d → oci:out:image-0\d {2}sha256:/);
});

test('--progress json has the job in every line', async () => {
  await writeSharedImages(at('source'), 2);
  await put('list.yaml', listOf(imageNames(2)));
  const { stderr } = await runCli(['batch', 'list.yaml', '--progress', 'json'], { cwd: folder });
  const events = stderr
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(new Set(events.map(({ job }) => job))).toEqual(new Set([0, 1]));
  for (const event of events)
    expect(keys(event)).toEqual(expect.arrayContaining(['phase', 'done', 'total', 'unit']));
  expect(
    events
      .filter(({ phase }) => phase === 'batch')
      .map(({ state }) => state)
      .sort(),
  ).toEqual([...['done', 'done', 'started', 'started']]);
});

describe('wrong usage', () => {
  test.each([
    ['- {source: oci:a}', /list\.yaml:1: job 1: it has no "destination"/],
    [
      '- {source: oci:a, destination: oci:b, dm_verity: true}',
      /there is no key "dm_verity" \(did you mean "dm-verity"\?\)/,
    ],
    ['- {source: oci:a, destination: oci:b, level: 99}', /level: 99 is not from 1 to 22/],
    ['a: [', /list\.yaml:1/],
  ])('%s', async (text, message) => {
    await put('list.yaml', text);
    expect(await expectFailure(['batch', 'list.yaml'], 2, 'USAGE')).toMatch(message);
    expect(readdirSync(folder)).toEqual(['list.yaml']);
  });

  test.each([
    [['batch'], /missing required argument/],
    [['batch', 'list.yaml', '--jobs', '0'], /--jobs/],
    [['batch', 'list.yaml', '--platform', 'linux/arm64', '--all-platforms'], /cannot be used with/],
  ])('%j', async (args, message) => {
    await put('list.yaml', listOf(['a']));
    expect(await expectFailure(args, 2, 'USAGE')).toMatch(message);
  });

  test('a file that is not there', async () => {
    expect(await expectFailure(['batch', 'none.yaml'], 1, 'NOT_FOUND')).toMatch(/none\.yaml/);
  });

  test('a journal that is none', async () => {
    await put('list.yaml', listOf(['a']));
    await put('list.yaml.journal', 'milk, eggs\n');
    expect(await expectFailure(['batch', 'list.yaml'], 3, 'CORRUPT')).toMatch(/it is no journal \(remove it/);
  });
});

/** A list that begins with an image which is not given out before it is released: no run ends of itself until then. */
async function putHeldList(count: number): Promise<HeldImage> {
  const held = await HeldImage.start();
  onTestFinished(() => held.stop());
  const first = { source: held.reference, destination: 'oci:out:held' };
  await writeSharedImages(at('source'), count);
  await put('list.yaml', JSON.stringify([first, ...(JSON.parse(listOf(imageNames(count))) as object[])]));
  return held;
}

test('SIGINT: exit 130, and the next run goes on', async () => {
  const held = await putHeldList(20);
  const args = ['batch', 'list.yaml', '--chunk-size', '64KiB', '--jobs', '2', '--progress', 'plain'];
  const { exitCode, stderr } = await runCli(args, {
    cwd: folder,
    signalAt: { pattern: /done/, signal: 'SIGINT' },
  });
  expect(exitCode, stderr).toBe(130);
  expect(stderr).toMatch(/error: .*: interrupted\n$/);
  const before = doneKeys();
  expect(before.length).toBeGreaterThan(0);
  expect(before.length).toBeLessThanOrEqual(20);
  checkCleanLayout(at('out'));
  held.release();
  const { document } = await run();
  expect(document.jobs.filter(({ status }) => status === 'skipped')).toHaveLength(before.length);
  expect(checkCleanLayout(at('out'))).toEqual(['held', ...imageNames(20)]);
});

const seed = Number(process.env['KILL_SEED'] ?? Date.now() % 2 ** 31);

/** The same numbers in [0, 1) for the same seed (mulberry32). */
function randomNumbers(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Runs it until the journal has so many more events, and a moment longer, and kills it. */
async function killAfter(events: number, milliseconds: number): Promise<void> {
  const before = journal().length;
  const { child, ended } = startCli(['batch', 'list.yaml', '--chunk-size', '64KiB', '--jobs', '3'], folder);
  const end = ended.then(() => true);
  while (journal().length < before + events && !(await Promise.race([end, sleep(2)])));
  await sleep(milliseconds);
  child.kill('SIGKILL');
  const { signal, stderr } = await ended;
  expect(signal, stderr).toBe('SIGKILL');
}

test(`50 images, killed five times and resumed (KILL_SEED=${seed})`, { timeout: 600_000 }, async () => {
  console.info(`KILL_SEED=${seed}`);
  const random = randomNumbers(seed);
  const names = ['held', ...imageNames(50)];
  const held = await putHeldList(50);
  for (let kill = 0; kill < 5; kill++) {
    await killAfter(1 + Math.floor(random() * 14), random() * 60);
    if (looksLikeLayout(at('out'))) checkLayout(at('out'));
  }
  const before = doneKeys();
  held.release();
  const { exitCode, document, stderr } = await run();
  expect(exitCode, stderr).toBe(0);
  const count = (status: string): number => document.jobs.filter((job) => job.status === status).length;
  expect([count('skipped'), count('done')]).toEqual([before.length, names.length - before.length]);
  // No image was finished twice: each key was done once, and what was done before a kill was not begun again after it.
  expect(doneKeys()).toHaveLength(names.length);
  expect(new Set(doneKeys()).size).toBe(names.length);
  const seen = new Set<string>();
  for (const { event, key = '' } of journal()) {
    if (event === 'start') expect(seen.has(key)).toBe(false);
    if (event === 'done') seen.add(key);
  }
  expect(checkCleanLayout(at('out'))).toEqual(names);
  await put('clean.yaml', readFileSync(at('list.yaml'), 'utf8').replaceAll('oci:out:', 'oci:clean:'));
  const clean = await runJson<Result>(['batch', 'clean.yaml', '--chunk-size', '64KiB'], { cwd: folder });
  expect(document.jobs.map(({ digest }) => digest)).toEqual(clean.document.jobs.map(({ digest }) => digest));
});

test('files that can not be opened are failures of their images alone', async () => {
  const tars = await Promise.all(
    Array.from({ length: 12 }, (_, i) => makeTar([{ name: `file-${i}`, content: noise(5000, `${i}`) }])),
  );
  await writeLayout(at('many'), tars);
  const jobs = Array.from({ length: 12 }, (_, i) => ({
    source: 'oci:many',
    destination: `oci-archive:out-${i}.tar:x`,
  }));
  await put('jobs.json', JSON.stringify(jobs));
  const program = join(__dirname, '../../dist/cli/main.js');
  const script = 'ulimit -n 40; exec "$0" "$1" batch jobs.json --jobs 12 --json';
  const options = { cwd: folder, encoding: 'utf8' } as const;
  const { stdout, stderr, status } = spawnSync('sh', ['-c', script, process.execPath, program], options);
  expect(stderr).not.toContain('internal error');
  const document = JSON.parse(stdout) as {
    jobs: { status: string; error?: { code: string; message: string } }[];
  };
  expect(document.jobs).toHaveLength(12);
  const errors = document.jobs.flatMap(({ error }) => error ?? []);
  expect(status).toBe(errors.length > 0 ? 1 : 0);
  for (const { code, message } of errors)
    expect([code, message]).toEqual(['IO', expect.stringMatching(/open files/)]);
});
