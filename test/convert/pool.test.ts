import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ConversionPool } from '../../src/convert/pool';
import { caught } from '../support/caught';

const large = 1 << 30;
const place = {};

/** Promises that are settled from outside. */
class Gates {
  readonly open: (() => void)[] = [];
  running = 0;
  most = 0;

  pass = async (): Promise<void> => {
    this.running++;
    this.most = Math.max(this.most, this.running);
    await new Promise<void>((resolve) => this.open.push(resolve));
    this.running--;
  };

  async openAll(count: number): Promise<void> {
    for (let done = 0; done < count;) {
      await turn();
      const gate = this.open.shift();
      if (gate === undefined) continue;
      gate();
      done++;
    }
  }
}

async function settled(): Promise<void> {
  for (let i = 0; i < 10; i++) await turn();
}

describe('the threads of a pool', () => {
  it('are shared by small pieces, and all go to a large one', async () => {
    const pool = new ConversionPool({ threads: 4 });
    const gates = new Gates();
    const taken: number[] = [];
    const work = (threads: number): Promise<void> => {
      taken.push(threads);
      return gates.pass();
    };
    const all = [1, 1, 2, 100, 0].map((pieces) => pool.compute(pieces, undefined, work));
    await settled();
    expect(taken).toEqual([1, 1, 2]);
    await gates.openAll(3);
    await settled();
    expect(taken).toEqual([1, 1, 2, 4]);
    await gates.openAll(2);
    await Promise.all(all);
    expect(taken).toEqual([1, 1, 2, 4, 1]);
  });

  it('come back when work fails, and are not taken for work that was cancelled while it waited', async () => {
    const pool = new ConversionPool({ threads: 1 });
    const gates = new Gates();
    const controller = new AbortController();
    const first = pool.compute(1, undefined, gates.pass);
    let ran = false;
    const second = caught(() => pool.compute(1, controller.signal, async () => void (ran = true)));
    controller.abort();
    await gates.openAll(1);
    await first;
    expect((await second).code).toBe('CANCELLED');
    expect(ran).toBe(false);
    await expect(pool.compute(1, undefined, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await pool.compute(1, undefined, async (threads) => threads)).toBe(1);
  });
});

describe('the layers that are open at once', () => {
  it.each([
    [1, large, 4],
    [2, large, 4],
    [16, large, 4],
    [1, 1000, 4],
    [2, 1000, 4],
    [16, 1000, 32],
  ])('with %i threads and %i bytes each are at most %i', async (threads, size, most) => {
    const pool = new ConversionPool({ threads });
    const gates = new Gates();
    const all = Array.from({ length: 50 }, () => pool.open(size, undefined, gates.pass));
    await gates.openAll(50);
    await Promise.all(all);
    expect(gates.most).toBe(most);
  });
});

describe('what is made once', () => {
  const always = async (): Promise<boolean> => true;
  const never = async (): Promise<boolean> => false;

  it('is shared by all who want it, also later', async () => {
    const pool = new ConversionPool();
    let made = 0;
    const make = async (): Promise<{ number: number }> => ({ number: ++made });
    const want = () => pool.once('a', place, { isThere: never, make });
    const [one, two] = await Promise.all([want(), want()]);
    expect(one).toBe(two);
    expect(await want()).toBe(one);
    expect((await pool.once('b', place, { isThere: never, make })).number).toBe(2);
  });

  it('is made again for another place, unless it is there', async () => {
    const pool = new ConversionPool();
    let made = 0;
    const make = async (): Promise<{ number: number }> => ({ number: ++made });
    await pool.once('a', place, { isThere: never, make });
    expect((await pool.once('a', {}, { isThere: always, make })).number).toBe(1);
    expect((await pool.once('a', {}, { isThere: never, make })).number).toBe(2);
  });

  it('is tried by the next one when the first fails', async () => {
    const pool = new ConversionPool();
    const makers = [() => Promise.reject(new Error('cancelled')), async () => 'made'];
    const make = (): Promise<string> => makers.shift()!();
    const want = () => pool.once('a', place, { isThere: never, make });
    const results = await Promise.allSettled([want(), want(), want()]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled']);
    expect(makers).toEqual([]);
  });
});

describe('a shared destination', () => {
  const ends: string[] = [];
  const open = async () => ({
    close: async () => void ends.push('close'),
    abort: async () => void ends.push('abort'),
  });

  it('is ended by its last user, and kept when one of them was done', async () => {
    const { destinations } = new ConversionPool();
    const a = await destinations.lease('x', open);
    const b = await destinations.lease('x', open);
    expect(a.target).toBe(b.target);
    await a.close();
    expect(ends).toEqual([]);
    await b.abort();
    expect(ends).toEqual(['close']);
    const c = await destinations.lease('x', open);
    expect(c.target).not.toBe(a.target);
    await c.abort();
    expect(ends).toEqual(['close', 'abort']);
  });

  it('that can not be opened is tried again', async () => {
    const { destinations } = new ConversionPool();
    const failing = () => destinations.lease('x', () => Promise.reject(new Error('no')));
    await expect(failing()).rejects.toThrow('no');
    await (await destinations.lease('x', open)).close();
  });
});
