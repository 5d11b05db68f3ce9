import { availableParallelism, tmpdir } from 'node:os';
import type { ResourceOptions } from '../job';

/** What native calls need of a caller's options, defaults filled in. */
export function resourcesOf({ threads, tmpDir }: ResourceOptions): { threads: number; tmpDir: string } {
  return { threads: threads ?? availableParallelism(), tmpDir: tmpDir ?? tmpdir() };
}

/** A line about something odd that was tolerated. */
export interface WarningOptions {
  /** Called with each such line. */
  onWarning?: ((line: string) => void) | undefined;
}
