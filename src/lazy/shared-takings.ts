import type { DecodeBudget } from './decode-budget';
import { isMoreUrgent, type Urgency } from './fetch-queue';
import type { SharedChunks } from './shared-chunks';

/** How a chunk was asked for. */
interface Asked {
  urgency: Urgency;
  runEnd?: number | undefined;
}

interface SharedTakingsParts {
  shared: Pick<SharedChunks, 'has' | 'read'> | null | undefined;
  /** Bounds what is in memory at once. */
  decoding: DecodeBudget;
  sizeOf: (chunk: number) => number;
  /** Takes the bytes of a chunk; null: it came another way meanwhile. Never rejects. */
  take: (chunk: number, bytes: Buffer) => Promise<void>;
  /** A chunk is not there after all. */
  onMissing: (chunk: number, urgency: Urgency, runEnd?: number) => void;
  /** What was asked for in the background was taken, as far as it is there. */
  onDrained: () => void;
}

/** The chunks of a layer that are being taken from other stores. */
export class SharedTakings {
  private readonly asked = new Map<number, Asked>();
  private readonly running = new Set<Promise<void>>();
  private isEnded = false;

  constructor(private readonly parts: SharedTakingsParts) {}

  /** Begins to take a chunk, or goes on; false when no store has it. */
  begin(chunk: number, urgency: Urgency, runEnd?: number): boolean {
    const known = this.asked.get(chunk);
    if (known === undefined && this.parts.shared?.has(chunk) !== true) return false;
    if (known === undefined || isMoreUrgent(urgency, known.urgency))
      this.asked.set(chunk, { urgency, runEnd });
    if (known !== undefined) return true;
    const work = this.run(chunk);
    this.running.add(work);
    void work.finally(() => this.running.delete(work));
    return true;
  }

  /** Nothing is taken any more once it resolves. */
  async end(): Promise<void> {
    this.isEnded = true;
    await Promise.all(this.running);
  }

  private async run(chunk: number): Promise<void> {
    const { shared, decoding, sizeOf, take, onMissing, onDrained } = this.parts;
    const isHere = await decoding.run(sizeOf(chunk), async () => {
      const bytes = this.isEnded ? null : await shared!.read(chunk);
      if (bytes !== null && !this.isEnded) await take(chunk, bytes);
      return bytes !== null;
    });
    const asked = this.asked.get(chunk)!;
    this.asked.delete(chunk);
    if (this.isEnded) return;
    if (!isHere) onMissing(chunk, asked.urgency, asked.runEnd);
    else if (asked.urgency === 'background' && this.asked.size === 0) onDrained();
  }
}
