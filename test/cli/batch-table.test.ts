import { expect, test, vi } from 'vitest';
import { createBatchDisplay, jobLine } from '../../src/cli/batch-progress';
import { BatchTable } from '../../src/cli/batch-table';
import type { ProgressMode } from '../../src/cli/progress';
import type { BatchJobEvent, BatchProgressEvent, ConvertResult } from '../../src/index';
import { Capture } from './capture';

const job = (
  number: number,
  state: BatchJobEvent['state'],
  ended: number,
  more: Partial<BatchJobEvent> = {},
): BatchJobEvent => ({
  job: number,
  source: `docker://host/app:${number}`,
  destination: `oci:out:${number}`,
  state,
  ended,
  total: 4,
  ...more,
});

const bytes = (
  number: number,
  item: string,
  phase: string,
  done: number,
  total: number,
): BatchProgressEvent => ({
  job: number,
  item,
  phase,
  done,
  total,
  unit: 'bytes',
});

/** A table whose clock the test sets, in seconds. */
function tableAt(maxImages?: number): { table: BatchTable; clock: { seconds: number } } {
  const clock = { seconds: 0 };
  return { table: new BatchTable(() => clock.seconds * 1000, maxImages), clock };
}

test('is empty before the first image', () => {
  const { table } = tableAt();
  table.progress(bytes(0, 'x', 'encode', 1, 2));
  expect(table.lines()).toEqual([]);
});

test('has a line for each image, with a bar for each layer, and one for all', () => {
  const { table, clock } = tableAt();
  table.job(job(0, 'started', 0));
  table.job(job(1, 'started', 0));
  expect(table.lines()).toEqual([
    'docker://host/app:0                   [------------------------------]            - MB/s',
    'docker://host/app:1                   [------------------------------]            - MB/s',
    '0 of 4 images                         [------------------------------]  0 %       - MB/s',
  ]);
  table.progress(bytes(0, 'base', 'fetch', 8e6, 8e6));
  table.progress(bytes(0, 'base', 'encode', 0, 16e6));
  table.progress(bytes(0, 'top', 'fetch', 2e6, 4e6));
  clock.seconds = 1;
  expect(table.lines()).toEqual([
    'docker://host/app:0                   [--------------|#######--------]  fetch     10.0 MB/s  ETA 3 s',
    'docker://host/app:1                   [------------------------------]            0.0 MB/s',
    '0 of 4 images                         [#-----------------------------]  6 %       10.0 MB/s  ETA 15 s',
  ]);
  table.progress(bytes(0, 'base', 'encode', 8e6, 16e6));
  table.progress(bytes(0, 'top', 'fetch', 4e6, 4e6));
  clock.seconds = 2;
  expect(table.lines()[0]).toBe(
    'docker://host/app:0                   [#######-------|###############]  encode    10.0 MB/s  ETA 1 s',
  );
  table.job(job(0, 'done', 1));
  expect(table.lines()).toEqual([
    'docker://host/app:1                   [------------------------------]            0.0 MB/s',
    '1 of 4 images                         [#######-----------------------]  25 %      10.0 MB/s  ETA 6 s',
  ]);
});

test('counts what failed and what was done before, which says nothing of the speed', () => {
  const { table, clock } = tableAt();
  table.job(job(0, 'skipped', 1));
  table.job(job(1, 'skipped', 2));
  table.job(job(2, 'started', 2));
  table.job(job(3, 'started', 2));
  clock.seconds = 300;
  table.job(job(2, 'failed', 3));
  expect(table.lines()).toEqual([
    'docker://host/app:3                   [------------------------------]            0.0 MB/s',
    '3 of 4 images, 2 done before, 1 failed  [###############---------------]  50 %      0.0 MB/s  ETA 5 min',
  ]);
  table.job(job(3, 'done', 4));
  expect(table.lines()).toEqual([
    '4 of 4 images, 2 done before, 1 failed  [##############################]  100 %     0.0 MB/s',
  ]);
});

test('a list of which all was done before', () => {
  const { table } = tableAt();
  for (let i = 0; i < 4; i++) table.job(job(i, 'skipped', i + 1));
  expect(table.lines()).toEqual([
    '4 of 4 images, 4 done before          [##############################]  100 %     - MB/s',
  ]);
});

test('a retried image begins anew', () => {
  const { table, clock } = tableAt();
  table.job(job(0, 'started', 0));
  table.progress(bytes(0, 'base', 'fetch', 5e6, 10e6));
  clock.seconds = 5;
  table.job(job(0, 'retried', 0));
  expect(table.lines()[0]).toBe(
    'docker://host/app:0                   [------------------------------]            - MB/s',
  );
});

test('many layers share one bar; a length that is not known yet is none', () => {
  const { table } = tableAt();
  table.job(job(0, 'started', 0));
  for (let i = 0; i < 100; i++) table.progress(bytes(0, `${i}`, 'encode', i < 50 ? 1 : 0, 1));
  expect(table.lines()[0]).toContain('[###############---------------]');
  table.job(job(1, 'started', 0));
  table.progress(bytes(1, 'x', 'plan', 1e6, 0));
  expect(table.lines()[1]).toContain('[------------------------------]  plan');
});

test('lines fit: names are cut at their beginning, cleaned, and what is too much for the screen is counted', () => {
  const { table } = tableAt(2);
  for (let i = 0; i < 4; i++) {
    table.job(
      job(i, 'started', 0, { source: `docker://registry.example.org/team/\x1b[31mproject/app-${i}:1.0` }),
    );
  }
  const [first, second, third, last] = table.lines();
  expect(first!.slice(0, 36)).toMatch(/^….*\\x1b\[31mproject\/app-0:1\.0$/);
  expect(second).toContain('app-1:1.0  [');
  expect(third).toBe('… and 2 more');
  expect(last).toMatch(/^0 of 4 images/);
});

const result = {
  digest: `sha256:${'ab'.repeat(32)}`,
  summary: { layers: 2, bytesIn: 1, bytesOut: 1.2e6, seconds: 0.44 },
} as ConvertResult;

test.each<[BatchJobEvent, string]>([
  [
    job(0, 'done', 1, { result }),
    '[1/4] done     docker://host/app:0 → oci:out:0  sha256:abababababab  2 layers, 1.2 MB, 0.4 s',
  ],
  [job(1, 'skipped', 2), '[2/4] skipped  docker://host/app:1 → oci:out:1'],
  [
    job(2, 'failed', 3, { error: { code: 'IO', message: 'it\nbroke' } }),
    '[3/4] failed   docker://host/app:2 → oci:out:2  it\\x0abroke',
  ],
])('a job’s line', (event, line) => {
  expect(jobLine(event)).toBe(line);
});

const events = (display: Awaited<ReturnType<typeof createBatchDisplay>>): void => {
  display.job(job(0, 'started', 0));
  display.progress(bytes(0, 'base', 'encode', 1, 2));
  display.job(job(0, 'failed', 1, { error: { code: 'IO', message: 'broken' } }));
  display.job(job(1, 'started', 1));
  display.job(job(1, 'done', 2, { result }));
  display.print('warning: x');
  display.stop();
  display.stop();
};

test('json is one object a line, with the job', async () => {
  const stderr = new Capture();
  events(await createBatchDisplay('json', stderr, false));
  const batch = { phase: 'batch', total: 4, unit: 'images' };
  const [item0, item1] = ['docker://host/app:0', 'docker://host/app:1'];
  expect(stderr.lines.slice(0, -1).map((line) => JSON.parse(line) as unknown)).toEqual([
    { ...batch, job: 0, item: item0, state: 'started', done: 0 },
    { job: 0, phase: 'encode', item: 'base', done: 1, total: 2, unit: 'bytes' },
    { ...batch, job: 0, item: item0, state: 'failed', done: 1, error: { code: 'IO', message: 'broken' } },
    { ...batch, job: 1, item: item1, state: 'started', done: 1 },
    { ...batch, job: 1, item: item1, state: 'done', done: 2 },
  ]);
});

test('plain is one line for each image that has an end', async () => {
  const stderr = new Capture();
  events(await createBatchDisplay('plain', stderr, false));
  expect(stderr.lines).toEqual([
    '[1/4] failed   docker://host/app:0 → oci:out:0  broken',
    '[2/4] done     docker://host/app:1 → oci:out:1  sha256:abababababab  2 layers, 1.2 MB, 0.4 s',
    'warning: x',
  ]);
});

test.each<[ProgressMode, boolean, boolean]>([
  ['none', true, false],
  ['auto', false, false],
  ['auto', true, true],
])('%s on a terminal: %s, quiet: %s prints warnings alone', async (mode, isTTY, quiet) => {
  const stderr = new Capture({ isTTY });
  events(await createBatchDisplay(mode, stderr, quiet));
  expect(stderr.text).toBe('warning: x\n');
});

test('the table is drawn on a terminal, shares it with failures and warnings, and is gone at the end', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
  try {
    const stderr = new Capture({ isTTY: true });
    const display = await createBatchDisplay('auto', stderr, false);
    display.print('warning: early');
    display.job(job(0, 'started', 0));
    display.job(job(1, 'started', 0));
    display.progress(bytes(0, 'base', 'encode', 1e6, 4e6));
    vi.advanceTimersByTime(1000);
    expect(stderr.text).toContain(
      'docker://host/app:0                   [#######-----------------------]  encode',
    );
    expect(stderr.text).toContain('0 of 4 images');
    display.job(job(0, 'failed', 1, { error: { code: 'IO', message: 'broken' } }));
    display.print('warning: late');
    vi.advanceTimersByTime(1000);
    expect(stderr.text).toContain('[1/4] failed   docker://host/app:0 → oci:out:0  broken\n');
    expect(stderr.text).toContain('warning: late\n');
    expect(stderr.text).toContain('1 of 4 images, 1 failed');
    display.stop();
    const drawn = stderr.text;
    display.job(job(1, 'done', 2, { result }));
    vi.advanceTimersByTime(1000);
    expect(stderr.text).toBe(drawn);
    display.print('after');
    expect(stderr.text.endsWith('after\n')).toBe(true);
  } finally {
    vi.useRealTimers();
  }
});
