import type { JobOptions } from '../../job';

/** Calls that go on beside each other, a limited number of them: the first failure ends all. */
export class Lanes {
  private readonly busy = new Set<Promise<void>>();
  private readonly stopper = new AbortController();
  private failure: { error: unknown } | undefined;

  private readonly signal: AbortSignal;

  constructor(
    private readonly width: number,
    signal: AbortSignal | undefined,
  ) {
    this.signal = AbortSignal.any([this.stopper.signal, ...(signal === undefined ? [] : [signal])]);
  }

  /** Begins a call as soon as a lane is free. Rejects with what an earlier one failed with. */
  async start(call: (options: JobOptions) => Promise<void>): Promise<void> {
    while (this.busy.size >= this.width) await Promise.race(this.busy);
    this.check();
    const running: Promise<void> = this.run(call).finally(() => this.busy.delete(running));
    this.busy.add(running);
  }

  /** Makes a call beside those that were started, and waits for it. */
  async alone(call: (options: JobOptions) => Promise<void>): Promise<void> {
    this.check();
    await this.run(call);
    this.check();
  }

  /** Waits for all calls. Rejects with what the first one failed with. */
  async drain(): Promise<void> {
    await Promise.all(this.busy);
    this.check();
  }

  /** Ends all calls, and waits until they are over. */
  async stop(): Promise<void> {
    this.stopper.abort();
    await Promise.all(this.busy);
  }

  private async run(call: (options: JobOptions) => Promise<void>): Promise<void> {
    try {
      await call({ signal: this.signal });
    } catch (error) {
      this.failure ??= { error };
      this.stopper.abort();
    }
  }

  private check(): void {
    if (this.failure !== undefined) throw this.failure.error;
  }
}
