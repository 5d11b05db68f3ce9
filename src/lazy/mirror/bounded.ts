/** A map that forgets what was set longest ago. */
export class Bounded<T> {
  private readonly values = new Map<string, T>();

  constructor(private readonly limit: number) {}

  get(key: string): T | undefined {
    return this.values.get(key);
  }

  set(key: string, value: T): void {
    this.values.delete(key);
    this.values.set(key, value);
    if (this.values.size <= this.limit) return;
    const [oldest] = this.values.keys();
    this.values.delete(oldest!);
  }
}
