import type { WarningOptions } from '../layer/resources';

/** Waits for the cleaning up after a run. Its failure is only a warning: the result of the run stands by then, and the caller must get that. */
export async function tidy(work: Promise<void>, { onWarning }: WarningOptions): Promise<void> {
  await work.catch((error: unknown) => {
    onWarning?.(`${(error as Error).message}: something may be left behind`);
  });
}
