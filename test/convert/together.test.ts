import { describe, expect, it } from 'vitest';
import { runTogether } from '../../src/convert/together';

const whenAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    signal.addEventListener('abort', () => {
      resolve();
    });
  });

describe('tasks that run side by side', () => {
  it('give their results in their order', async () => {
    const results = await runTogether([30, 1, 10], undefined, async (n) => {
      for (let i = 0; i < n; i++) await Promise.resolve();
      return n;
    });
    expect(results).toEqual([30, 1, 10]);
  });

  it('end with the first error, after all of them have ended', async () => {
    const ended: string[] = [];
    const run = runTogether(['slow', 'bad'], undefined, async (task, signal) => {
      if (task === 'bad') throw new Error('bad');
      await whenAborted(signal);
      await new Promise((resolve) => setImmediate(resolve));
      ended.push(task);
      throw new Error('cancelled');
    });
    await expect(run).rejects.toThrow('bad');
    expect(ended).toEqual(['slow']);
  });

  it('are cancelled from outside, before and after their start', async () => {
    const controller = new AbortController();
    const run = runTogether([1], controller.signal, async (_task, signal) => {
      await whenAborted(signal);
      throw new Error('cancelled');
    });
    controller.abort();
    await expect(run).rejects.toThrow('cancelled');
    expect(await runTogether([1], controller.signal, async (_task, signal) => signal.aborted)).toEqual([
      true,
    ]);
  });
});
