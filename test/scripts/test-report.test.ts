import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { titleOf } from '../conformance/support/machine';

const script = resolve(__dirname, '../../scripts/test-report.mjs');
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'test-report-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** What the script says of a report, line by line. */
function said(what: string, kind: string, report: object): string[] {
  const path = join(folder, 'report.json');
  writeFileSync(path, JSON.stringify(report));
  return execFileSync(process.execPath, [script, what, kind, path], { encoding: 'utf8' })
    .trimEnd()
    .split('\n');
}

const vitest = {
  testResults: [
    {
      name: 'a.test.ts',
      status: 'failed',
      message: '',
      assertionResults: [
        { fullName: 'passes', status: 'passed', failureMessages: [] },
        { fullName: 'breaks', status: 'failed', failureMessages: ['\nError: x is 1\n  at y'] },
        { fullName: `${titleOf('mounts', 'needs root')} one`, status: 'skipped', failureMessages: [] },
        { fullName: `${titleOf('mounts', 'needs root')} two`, status: 'pending', failureMessages: [] },
        { fullName: titleOf('alone', 'needs zstd'), status: 'skipped', failureMessages: [] },
        { fullName: 'forgotten', status: 'skipped', failureMessages: [] },
      ],
    },
  ],
};

const gtest = {
  testsuites: [
    {
      name: 'Kernel',
      testsuite: [
        { name: 'Passes', result: 'COMPLETED' },
        { name: 'Breaks', result: 'COMPLETED', failures: [{ failure: 'a.cc:1\nx is 1' }] },
        { name: 'Mounts', result: 'SKIPPED', skipped: 'needs root' },
        { name: 'Forgotten', result: 'SKIPPED' },
      ],
    },
  ],
};

describe('of what was skipped', () => {
  test.each([
    ['vitest', vitest, '1 2 3', ['needs root (2 tests)', 'needs zstd (1 test)']],
    ['gtest', gtest, '1 2 1', ['needs root (1 test)']],
  ])(
    '%s tells how many for which reason, and without a reason it is a failure',
    (kind, report, counts, skipped) => {
      expect(said('counts', kind, report)).toEqual([counts]);
      expect(said('skipped', kind, report)).toEqual(skipped);
      const failures = said('failures', kind, report);
      expect(failures).toHaveLength(2);
      expect(failures[0]).toContain('x is 1');
      expect(failures[1]).toMatch(/orgotten: it is skipped, and does not say why$/);
    },
  );
});
