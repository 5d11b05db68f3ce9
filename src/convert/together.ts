import { setMaxListeners } from 'node:events';

/**
 * Runs `tasks` side by side; their results in the order of the tasks. The first that fails aborts the signal of the others, which follows
 * `signal`, and its error is thrown when all have ended: nothing goes on behind the caller's back.
 */
export async function runTogether<Task, T>(
  tasks: readonly Task[],
  signal: AbortSignal | undefined,
  run: (task: Task, signal: AbortSignal) => Promise<T>,
): Promise<T[]> {
  const group = new AbortController();
  setMaxListeners(0, group.signal); // every layer under way listens
  const abort = (): void => {
    group.abort();
  };
  if (signal?.aborted === true) abort();
  signal?.addEventListener('abort', abort, { once: true });
  const failures: unknown[] = [];
  const started = tasks.map((task) =>
    run(task, group.signal).catch((error: unknown) => {
      failures.push(error);
      group.abort();
      return undefined as never;
    }),
  );
  const results = await Promise.all(started);
  signal?.removeEventListener('abort', abort);
  if (failures.length > 0) throw failures[0];
  return results;
}
