import type { TestContext } from 'vitest';
import { sum, type Reading } from './readers';

declare module 'vitest' {
  interface TaskMeta {
    /** What a soak test counted: scripts/soak.mjs puts it into the result. */
    figures?: Partial<Reading> & Record<string, number>;
  }
}

const readings = new WeakMap<object, Reading>();

/** Adds what readers did to what the test says of itself, over all its repeats. */
export function noteReading({ task }: Pick<TestContext, 'task'>, reading: Reading): void {
  const before = readings.get(task);
  const all = before === undefined ? reading : sum([before, reading]);
  readings.set(task, all);
  const longest = Math.round(all.longest * 100) / 100;
  Object.assign((task.meta.figures ??= {}), all, { longest });
}

/** Counts one more of something, over all repeats of a test. */
export function count({ task }: Pick<TestContext, 'task'>, what: string, more = 1): void {
  const figures = (task.meta.figures ??= {});
  figures[what] = (figures[what] ?? 0) + more;
}
