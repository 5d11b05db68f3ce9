import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { supervise, type Outcome } from './supervise';

const workers = 2;
const seed = Number(process.env['FUZZ_SEED'] ?? 1);
const cases = Number(process.env['FUZZ_CASES'] ?? 20_000);
/** One case alone, as a failure names it. */
const single = process.env['FUZZ_CASE'] === undefined ? undefined : Number(process.env['FUZZ_CASE']);
/** Wall time for one case, where the machine is shared with others. */
const silence = 120_000;

async function runCases(folder: string): Promise<Outcome[]> {
  const cache = mkdtempSync(join(tmpdir(), 'fuzz-cache-'));
  const runner = [join(__dirname, '..', 'support', 'run-ts.mjs'), cache, join(__dirname, 'worker.ts')];
  const run = (first: number, step: number, end: number) =>
    supervise([...runner, ...[seed, first, step, end].map(String), folder], silence, cache);
  try {
    if (single !== undefined) return [await run(single, 1, single + 1)];
    return await Promise.all(Array.from({ length: workers }, (_, first) => run(first, workers, cases)));
  } finally {
    rmSync(cache, { recursive: true });
  }
}

it(
  `damaged images and blobs end in clean errors (FUZZ_SEED=${seed})`,
  { timeout: 300_000 + cases * 60 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'fuzz-failures-'));
    const outcomes = await runCases(folder);
    for (const { summary } of outcomes) console.log(`seed ${seed}: ${JSON.stringify(summary)}`);
    const faults = outcomes.flatMap((outcome) => outcome.faults);
    const how = `again with: FUZZ_SEED=${seed} FUZZ_CASE=N npm run fuzz`;
    expect(faults.slice(0, 10).join('\n\n'), `${faults.length} faults; ${how}`).toBe('');
    rmSync(folder, { recursive: true });
    const total = outcomes.reduce((sum, { summary }) => sum + (summary?.cases ?? 0), 0);
    expect(total).toBe(single === undefined ? cases : 1);
    if (single !== undefined) return;
    // Damage must neither be overlooked nor keep everything from being read.
    const count = (code: string): number =>
      outcomes.reduce((sum, { summary }) => sum + (summary?.outcomes[code] ?? 0), 0);
    for (const code of ['CORRUPT', 'UNSUPPORTED', 'MISMATCH', 'NOT_FOUND'])
      expect(count(code)).toBeGreaterThan(0);
    expect(count('CORRUPT')).toBeGreaterThan(cases / 2);
    expect(count('ok')).toBeGreaterThan(cases);
  },
);
