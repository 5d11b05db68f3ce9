import type { WarningOptions } from '../layer/resources';

/** Waits for what cleans up behind a run. That it failed is a warning: what the run came to is decided by then, and is what the caller has to know. */
export async function tidy(work: Promise<void>, { onWarning }: WarningOptions): Promise<void> {
  await work.catch((error: unknown) => {
    onWarning?.(`${(error as Error).message}: something may be left behind`);
  });
}
