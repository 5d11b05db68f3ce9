import type { SeekableErofsError } from '../../errors';
import { withRetries, type RetryOptions } from '../../source/retry';
import { retryOptionsOf, type StoreOptions } from './options';

/** A connection that breaks now and then is nothing to talk about. */
const failuresToTell = 3;

/** Tries requests to one registry again, and says so, once in a row, when it is away for more than a moment. */
export class Patience {
  readonly options: RetryOptions;
  private isTold = false;

  constructor(
    /** What warnings call the registry. */
    private readonly name: string,
    private readonly host: string,
    private readonly given: StoreOptions,
  ) {
    this.options = retryOptionsOf(given);
  }

  /** As withRetries(), by the store's options. */
  async retrying<T>(attempt: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    const result = await withRetries(attempt, this.options, signal, this.tell);
    this.isTold = false;
    return result;
  }

  readonly tell = (failed: number, error: SeekableErofsError): void => {
    const { why } = error;
    this.given.traffic?.retried(this.host, error);
    if (this.isTold || failed < failuresToTell) return;
    this.isTold = true;
    const { time } = this.options;
    const limit = time === undefined ? '' : `, for ${Math.round(time / 1000)} s at most (--retry-time)`;
    this.given.onWarning?.(`${this.name} does not answer: ${why}; it is asked again${limit}`);
  };
}
