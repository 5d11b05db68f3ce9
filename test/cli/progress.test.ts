import { expect, test, vi } from 'vitest';
import {
  BarProgress,
  PlainProgress,
  createProgress,
  formatBar,
  formOf,
  type ProgressMode,
} from '../../src/cli/progress';
import type { ProgressEvent } from '../../src/job';
import { Capture } from './capture';

const item = `sha256:${'ab'.repeat(32)}`;
const bytes = (
  phase: string,
  done: number,
  total: number,
  extra: Partial<ProgressEvent> = {},
): ProgressEvent => ({
  phase,
  done,
  total,
  unit: 'bytes',
  ...extra,
});

test('json is one object a line, with the item when there is one', async () => {
  const stderr = new Capture();
  const progress = await createProgress('json', stderr, false);
  progress.update(bytes('encode', 1, 3, { item: 'a\nb' }));
  progress.update({ phase: 'convert', done: 1, total: 2, unit: 'layers' });
  progress.stop();
  expect(stderr.lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    { phase: 'encode', done: 1, total: 3, unit: 'bytes', item: 'a\nb' },
    { phase: 'convert', done: 1, total: 2, unit: 'layers' },
  ]);
});

test('plain prints a line at each new phase and item, then every few seconds', () => {
  const stderr = new Capture();
  let now = 0;
  const progress = new PlainProgress(stderr, () => now, 5000);
  progress.update(bytes('plan', 10, 0, { item }));
  progress.update(bytes('encode', 0, 2e6, { item }));
  now = 4999;
  progress.update(bytes('encode', 1e6, 2e6, { item }));
  progress.update(bytes('encode', 0, 2e6, { item: 'other' }));
  now = 5000;
  progress.update(bytes('encode', 1.5e6, 2e6, { item }));
  progress.update({ phase: 'convert', done: 1, total: 3, unit: 'layers' });
  expect(stderr.lines).toEqual([
    'plan sha256:abababababab: 10 bytes',
    'encode sha256:abababababab: 0 % of 2.0 MB',
    'encode other: 0 % of 2.0 MB',
    'encode sha256:abababababab: 75 % of 2.0 MB',
    'convert: 33 % of 3 layers',
  ]);
});

test.each<[ProgressMode, boolean, boolean, boolean]>([
  ['auto', true, false, true],
  ['auto', false, false, false],
  ['auto', true, true, false],
  ['tty', true, true, true],
  ['tty', false, false, true],
  ['none', true, false, false],
])('%s on a terminal: %s, quiet: %s → bars: %s', async (mode, isTTY, quiet, bars) => {
  const progress = await createProgress(mode, new Capture({ isTTY }), quiet);
  expect(progress instanceof BarProgress).toBe(bars);
});

test('a run without bars prints nothing but its warnings', async () => {
  const stderr = new Capture();
  const progress = await createProgress('auto', stderr, false);
  progress.update(bytes('encode', 1, 2));
  progress.print('warning: x');
  progress.stop();
  expect(stderr.text).toBe('warning: x\n');
});

test('bars are drawn, share the terminal with warnings, and are gone at the end', async () => {
  vi.useFakeTimers();
  try {
    const stderr = new Capture({ isTTY: true });
    const progress = await createProgress('tty', stderr, false);
    progress.update(bytes('encode', 0, 4e6, { item }));
    progress.update(bytes('encode', 1e6, 4e6, { item }));
    progress.update(bytes('hash', 2e6, 4e6, { item: 'other' }));
    vi.advanceTimersByTime(1000);
    expect(stderr.text).toContain('encode sha256:abababababab   [######------------------] 25 % of 4.0 MB');
    expect(stderr.text).toContain('hash other                   [############------------] 50 % of 4.0 MB');
    progress.print('warning: x');
    vi.advanceTimersByTime(1000);
    expect(stderr.text).toContain('warning: x\n');

    progress.update(bytes('encode', 4e6, 4e6, { item }));
    const afterFirst = stderr.text.length;
    vi.advanceTimersByTime(1000);
    expect(stderr.text.slice(afterFirst)).toContain('hash other');
    expect(stderr.text.slice(afterFirst)).not.toContain('encode');

    progress.update(bytes('plan', 1, 1, { item: 'done at once' }));
    vi.advanceTimersByTime(1000);
    expect(stderr.text).not.toContain('plan');

    progress.stop();
    const end = stderr.text.length;
    progress.stop();
    progress.update(bytes('encode', 1, 2));
    vi.advanceTimersByTime(10_000);
    expect(stderr.text).toHaveLength(end);
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

test("an item's next phase takes the place of its last", async () => {
  vi.useFakeTimers();
  try {
    const stderr = new Capture({ isTTY: true });
    const progress = await createProgress('tty', stderr, false);
    progress.update(bytes('plan', 5, 0));
    progress.update(bytes('encode', 5, 10));
    const before = stderr.text.length;
    vi.advanceTimersByTime(1000);
    expect(stderr.text.slice(before)).toContain('encode');
    expect(stderr.text.slice(before)).not.toContain('plan');
    progress.stop();
  } finally {
    vi.useRealTimers();
  }
});

test('a bar tells how far, how fast and how long still', () => {
  const params = {
    progress: 0,
    eta: 0,
    startTime: Date.now() - 2000,
    stopTime: null,
    total: 0,
    value: 0,
    maxWidth: 80,
  };
  const half = formatBar({}, params, { event: bytes('encode', 5e6, 10e6) });
  expect(half).toMatch(/^encode {23}\[#{12}-{12}\] 50 % of 10\.0 MB {2}2\.\d MB\/s {2}ETA [23] s$/);
  expect(formatBar({}, params, { event: bytes('inflate', 5e6, 0) })).toMatch(
    /^inflate {22}5\.0 MB {2}2\.\d MB\/s$/,
  );
  const layers = formatBar({}, params, { event: { phase: 'convert', done: 0, total: 3, unit: 'layers' } });
  expect(layers).toMatch(/^convert {22}\[-{24}\] 0 % of 3 layers$/);
});

test.each<[ProgressMode, string]>([
  ['auto', 'plain'],
  ['tty', 'plain'],
  ['json', 'json'],
  ['none', 'none'],
])('a terminal that can not move its cursor gets no bars: %s is %s', (mode, form) => {
  vi.stubEnv('TERM', 'dumb');
  const stderr = Object.assign(new Capture(), { isTTY: true });
  expect(formOf(mode, stderr, false)).toBe(form);
  vi.stubEnv('TERM', 'xterm');
  expect(formOf('auto', stderr, false)).toBe('tty');
  vi.unstubAllEnvs();
});
