import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

// The claim: the runner finds out readers that accept what they must refuse, refuse what they must accept, or see another tree; and this
// package's own reader is none of them.

const root = join(__dirname, '../..');
const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  bin: Record<string, string>;
};

function runner(...args: string[]) {
  const program = join(root, bin['seekable-erofs-conformance']!);
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' });
  return { status, lines: stdout.trim().split('\n'), stderr };
}

/** A reader that answers everything alike. */
const answering = (script: string): string[] => [process.execPath, '-e', script];

test('this package reads the vectors', { timeout: 600_000 }, () => {
  const own = [process.execPath, join(root, 'scripts/read-vector.mjs')];
  for (const only of ['device-tw', 'data-on', 'overlay-no', 'last-i', 'verity']) {
    const { status, lines } = runner('--only', only, ...own);
    expect(lines.filter((line) => line.startsWith('FAILED'))).toEqual([]);
    expect(lines.length).toBeGreaterThan(1);
    expect(status).toBe(0);
  }
});

test('readers that are wrong are found out', () => {
  const accepting = runner('--only', 'last-', ...answering('console.log("[]")'));
  expect(accepting.status).toBe(1);
  expect(accepting.lines.filter((line) => line.includes('must be refused'))).toHaveLength(3);
  const refusing = runner('--only', 'overlay', ...answering('process.exit(3)'));
  expect([refusing.status, refusing.lines[0]]).toEqual([1, expect.stringContaining('exit 3')]);
  const blind = runner('--only', 'overlay', ...answering('console.log("[]")'));
  expect([blind.status, blind.lines[0]]).toEqual([1, expect.stringContaining('/ is missing')]);
  const garbled = runner('--only', 'overlay', ...answering('console.log("x")'));
  expect(garbled.lines[0]).toContain('no JSON');
  const tree = '[{"path":"/","type":"dir"},{"path":"/a","type":"file","sha256":"0"}]';
  const wrong = runner('--only', 'device-octets', ...answering(`console.log('${tree}')`));
  expect(wrong.lines[0]).toContain('/a: sha256 is "0"');
});

test('says how it is used', () => {
  expect(runner('--help').lines[0]).toContain('Usage: seekable-erofs-conformance');
  expect(runner().status).toBe(2);
  const { status, lines } = runner(
    '--without',
    'data-only',
    '--only',
    'data-',
    ...answering('process.exit(3)'),
  );
  expect([status, lines.at(-1)]).toEqual([
    0,
    expect.stringMatching(/^0 of 0 as they should be; \d+ left out$/),
  ]);
});
