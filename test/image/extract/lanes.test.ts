import { describe, expect, it } from 'vitest';
import { Lanes } from '../../../src/image/extract/lanes';

/** A call that ends when it is told to, or fails when its signal says so. */
function call() {
  let end: (error?: Error) => void = () => undefined;
  const ended = new Promise<void>((resolve, reject) => {
    end = (error) => {
      if (error === undefined) resolve();
      else reject(error);
    };
  });
  const state = { runs: false, aborted: false };
  const run = async ({ signal }: { signal?: AbortSignal | undefined }): Promise<void> => {
    state.runs = true;
    signal?.addEventListener('abort', () => {
      state.aborted = true;
      end();
    });
    await ended;
  };
  return { state, run, end };
}

describe('lanes', () => {
  it('take as many calls at once as there are, the next when one is free', async () => {
    const lanes = new Lanes(2, undefined);
    const calls = [call(), call(), call()];
    await lanes.start(calls[0]!.run);
    await lanes.start(calls[1]!.run);
    const third = lanes.start(calls[2]!.run);
    await Promise.resolve();
    expect(calls.map(({ state }) => state.runs)).toEqual([true, true, false]);
    calls[1]!.end();
    await third;
    expect(calls[2]!.state.runs).toBe(true);
    calls[0]!.end();
    calls[2]!.end();
    await lanes.drain();
  });

  it('end all when one fails, and say why', async () => {
    const lanes = new Lanes(3, undefined);
    const [bad, other] = [call(), call()];
    await lanes.start(other.run);
    await lanes.start(bad.run);
    bad.end(new Error('first'));
    await expect(lanes.drain()).rejects.toThrow('first');
    expect(other.state.aborted).toBe(true);
    await expect(lanes.start(call().run)).rejects.toThrow('first');
    await expect(lanes.alone(call().run)).rejects.toThrow('first');
    await lanes.stop();
  });

  it('pass the signal of the caller on, and stop', async () => {
    const controller = new AbortController();
    const lanes = new Lanes(2, controller.signal);
    const [one, two] = [call(), call()];
    await lanes.start(one.run);
    controller.abort();
    expect(one.state.aborted).toBe(true);
    const others = new Lanes(2, undefined);
    await others.start(two.run);
    await others.stop();
    expect(two.state.aborted).toBe(true);
  });
});
