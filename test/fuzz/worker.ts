// node run-ts.mjs CACHE worker.ts SEED FIRST STEP END FOLDER : runs the cases FIRST, FIRST + STEP … below END in this process.
// Prints `case N` before each, `fault N TEXT` (a JSON string) for those that fail, whose input it leaves in FOLDER, and `done SUMMARY`.
import { writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { measure, outcomes, type Target } from './case';
import { Random } from './random';
import { allTargets } from './targets';

/** What a worker says at the end. */
export interface Summary {
  cases: number;
  milliseconds: number;
  bytes: number;
  outcomes: Record<string, number>;
}

const [seed, first, step, end] = process.argv.slice(2, 6).map(Number) as [number, number, number, number];
const folder = process.argv[6]!;

/** At once, so that the last line is right even if this process never comes to another. */
function say(line: string): void {
  writeSync(1, `${line}\n`);
}

function save(index: number, files: Record<string, Buffer>): string {
  const paths = Object.entries(files).map(([part, bytes]) => {
    const path = join(folder, `case-${seed}-${index}.${part}`);
    writeFileSync(path, bytes);
    return path;
  });
  return paths.join(', ');
}

async function runCase(targets: readonly Target[], index: number): Promise<[number, number]> {
  const target = targets[index % targets.length]!;
  const random = new Random(seed, index);
  const files = target.files(random);
  const { fault, milliseconds, bytes } = await measure(() => target.run(files, random));
  if (fault !== null) {
    say(`fault ${index} ${JSON.stringify(`${target.name}: ${fault}\ninput: ${save(index, files)}`)}`);
  }
  return [milliseconds, bytes];
}

async function main(): Promise<void> {
  const targets = await allTargets();
  // Undamaged inputs first: they must be fine, and memory reaches its usual size.
  for (const target of targets) {
    const { fault } = await measure(() => target.run(target.files(null), new Random(seed, 0)));
    if (fault !== null) throw new Error(`${target.name}, undamaged: ${fault}`);
  }
  outcomes.delete('NOT_FOUND'); // the images have symbolic links that lead nowhere
  if (outcomes.size !== 1) throw new Error(`undamaged: ${JSON.stringify(Object.fromEntries(outcomes))}`);
  outcomes.clear();
  const summary: Summary = { cases: 0, milliseconds: 0, bytes: 0, outcomes: {} };
  for (let index = first; index < end; index += step) {
    say(`case ${index}`);
    const [milliseconds, bytes] = await runCase(targets, index);
    summary.cases++;
    summary.milliseconds = Math.max(summary.milliseconds, milliseconds);
    summary.bytes = Math.max(summary.bytes, bytes);
  }
  say(`done ${JSON.stringify({ ...summary, outcomes: Object.fromEntries(outcomes) })}`);
}

void main();
