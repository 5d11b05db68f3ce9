interface Waiting<T> {
  item: T;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/**
 * An action that is run for one group of items after the other: what is added while it runs is the next group. So what it costs, however
 * many items it is for, is paid once for all that wait.
 */
export class GroupedAction<T> {
  private readonly waiting: Waiting<T>[] = [];
  private isRunning = false;

  /** @param action must leave nothing half-done when it fails. */
  constructor(private readonly action: (items: readonly T[]) => Promise<void>) {}

  /** Ends when the action was run for `item`. A group that fails is tried again one by one: each hears of its own error. */
  add(item: T): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ item, resolve, reject });
      if (!this.isRunning) void this.runAll();
    });
  }

  private async runAll(): Promise<void> {
    this.isRunning = true;
    while (this.waiting.length > 0) await this.run(this.waiting.splice(0));
    this.isRunning = false;
  }

  private async run(group: Waiting<T>[]): Promise<void> {
    try {
      await this.action(group.map(({ item }) => item));
      for (const { resolve } of group) resolve();
    } catch (error) {
      if (group.length === 1) group[0]!.reject(error);
      else for (const one of group) await this.run([one]);
    }
  }
}
