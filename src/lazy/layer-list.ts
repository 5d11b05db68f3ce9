import { readList, writeList } from './list-file';
import type { LazyLayerRequest } from './messages';

const format = { version: 1, name: 'layers' };

/** A layer in use, and who has it; absent: mounts. */
export type ListedLayer = LazyLayerRequest & { holders?: string[] | undefined };

/** The layers in use, on disk: a server that takes over goes on with them. */
export class LayerList {
  private writing: Promise<void> = Promise.resolve();
  /** A write that has not begun. */
  private nextWrite: Promise<void> | null = null;
  private written: string | null = null;

  /** @param current tells what is in use now */
  constructor(
    private readonly path: string,
    private readonly current: () => Promise<ListedLayer[]>,
  ) {}

  /** Resolves when a list with what is in use now is on disk. One write serves all who ask before it begins. */
  save(): Promise<void> {
    this.nextWrite ??= this.writing
      .catch(() => undefined)
      .then(() => {
        this.nextWrite = null;
        return this.write();
      });
    this.writing = this.nextWrite;
    return this.nextWrite;
  }

  private async write(): Promise<void> {
    const layers = await this.current();
    const text = JSON.stringify(layers);
    if (text === this.written) return;
    await writeList(this.path, format, layers);
    this.written = text;
  }
}

/** The layers of a list, as readList(). */
export function readLayers(path: string): Promise<ListedLayer[]> {
  return readList(path, format);
}
