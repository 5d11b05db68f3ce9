import { failure } from '../../errors';

/** Lets a number of tasks go on at once; the others wait for their turn, first come, first served. */
export class Slots {
  private readonly waiting: (() => void)[] = [];

  constructor(private free: number) {}

  /** Takes a slot. What it resolves to gives the slot back, once however often it is called. */
  async take(signal?: AbortSignal): Promise<() => void> {
    if (signal?.aborted === true) throw cancelled();
    if (this.free > 0) this.free--;
    else await this.turn(signal);
    let isTaken = true;
    return () => {
      if (isTaken) this.give();
      isTaken = false;
    };
  }

  private turn(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = (): void => {
        signal?.removeEventListener('abort', stop);
        resolve();
      };
      const stop = (): void => {
        this.waiting.splice(this.waiting.indexOf(go), 1);
        reject(cancelled());
      };
      this.waiting.push(go);
      signal?.addEventListener('abort', stop, { once: true });
    });
  }

  private give(): void {
    const next = this.waiting.shift();
    if (next === undefined) this.free++;
    else next();
  }
}

function cancelled(): Error {
  return failure('CANCELLED', 'registry', 'cancelled');
}
