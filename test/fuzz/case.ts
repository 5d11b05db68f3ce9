import { SeekableErofsError, type ErrorCode } from '../../src/errors';
import type { Random } from './random';

/** Something that reads bytes which nobody vouches for. */
export interface Target {
  readonly name: string;
  /** Damaged input by the names of its parts; null: the undamaged one. */
  files(random: Random | null): Record<string, Buffer>;
  /** Reads the input in every way there is. Rejects with anything but the errors that attempt() takes. */
  run(files: Record<string, Buffer>, random: Random): Promise<void>;
}

/** What one case may take. */
export interface Limits {
  /** CPU time of all threads, which does not depend on what else the machine does. */
  milliseconds: number;
  /** By which the memory of the process may grow beyond what it was. */
  bytes: number;
}

export const caseLimits: Limits = { milliseconds: 2000, bytes: 256 << 20 };

/** How often what came out, by the code of the error. */
export const outcomes = new Map<string, number>();

const cleanCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  ...(['CORRUPT', 'MISMATCH', 'UNSUPPORTED', 'NOT_FOUND', 'UNVERIFIED', 'REFUSED'] as const),
]);

/** What `action` gives; undefined when it refuses the input with one of the errors that are for that. */
export async function attempt<T>(
  action: () => Promise<T>,
  alsoClean: readonly ErrorCode[] = [],
): Promise<T | undefined> {
  try {
    const value = await action();
    outcomes.set('ok', (outcomes.get('ok') ?? 0) + 1);
    return value;
  } catch (error) {
    if (!(error instanceof SeekableErofsError)) throw error;
    if (!cleanCodes.has(error.code) && !alsoClean.includes(error.code)) throw error;
    outcomes.set(error.code, (outcomes.get(error.code) ?? 0) + 1);
    return undefined;
  }
}

/** What a case took, and what was wrong with it. */
export interface Measured {
  fault: string | null;
  milliseconds: number;
  bytes: number;
}

/** Runs one case. A fault is an error that attempt() does not take, or a limit that was passed. */
export async function measure(run: () => Promise<unknown>, limits: Limits = caseLimits): Promise<Measured> {
  const before = { cpu: process.cpuUsage(), memory: process.memoryUsage.rss(), peak: peakMemory() };
  let fault: string | null = null;
  try {
    await run();
  } catch (error) {
    fault = error instanceof Error ? (error.stack ?? error.message) : String(error);
    if (error instanceof SeekableErofsError) fault = `${error.code} is no clean error: ${fault}`;
  }
  const { user, system } = process.cpuUsage(before.cpu);
  const milliseconds = (user + system) / 1000;
  // Only a case that raises the peak can have passed the limit: it is checked for each.
  const bytes = peakMemory() > before.peak ? peakMemory() - before.memory : 0;
  if (milliseconds > limits.milliseconds) fault ??= `took ${Math.round(milliseconds)} ms of CPU time`;
  if (bytes > limits.bytes) fault ??= `took ${bytes >> 20} MiB`;
  return { fault, milliseconds, bytes };
}

function peakMemory(): number {
  return process.resourceUsage().maxRSS * 1024;
}
