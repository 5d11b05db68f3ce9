import { Bounded } from './bounded';

/** Between the two requests of a pull; whoever tries again by hand is answered anew. In milliseconds. */
const memoryTime = 5000;
const maxFailures = 1000;

/** What failed a moment ago, and why. */
export class RecentFailures {
  private readonly failures = new Bounded<{ error: Error; until: number }>(maxFailures);

  /** @param now a clock that never goes back, in milliseconds */
  constructor(private readonly now: () => number = () => performance.now()) {}

  /** Undefined when it did not fail, or that was long ago. */
  get(name: string): Error | undefined {
    const failure = this.failures.get(name);
    return failure !== undefined && this.now() < failure.until ? failure.error : undefined;
  }

  set(name: string, error: Error): void {
    this.failures.set(name, { error, until: this.now() + memoryTime });
  }
}
