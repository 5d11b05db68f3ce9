import { maxInMemory } from './fetch-queue';

/** The frames of one answer that are being decoded and stored: no more of them at once than memory is meant for. */
export class Takings {
  /** How many were added. */
  count = 0;
  private bytes = 0;
  /** The first first. */
  private readonly underWay: { size: number; work: Promise<void> }[] = [];

  /** Resolves when there is room for the next one. `work` must not reject. */
  async add(size: number, work: Promise<void>): Promise<void> {
    this.count++;
    this.bytes += size;
    this.underWay.push({ size, work });
    while (this.bytes > maxInMemory) await this.endFirst();
  }

  /** Resolves when all are done. */
  async end(): Promise<void> {
    while (this.underWay.length > 0) await this.endFirst();
  }

  private async endFirst(): Promise<void> {
    const { size, work } = this.underWay.shift()!;
    await work;
    this.bytes -= size;
  }
}
