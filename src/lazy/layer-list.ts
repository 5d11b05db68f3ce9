import { writeFile } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { fromSystemError } from '../errors';
import { maxListSize, parseJson } from '../format/json';
import { writeAtomically } from '../fs/atomic-file';
import { checkRecordVersion } from '../fs/record-version';
import type { LazyLayerRequest } from './messages';

/** To be raised when the list changes; earlier ones are read as well, as a newer server goes on with an older one's. */
const listVersion = 1;

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
    const list = `${JSON.stringify({ version: listVersion, layers: await this.current() })}\n`;
    if (list === this.written) return;
    await writeAtomically(this.path, async ({ fd }) => {
      await promisify(writeFile)(fd, list);
    });
    this.written = list;
  }
}

/** What a list has; nothing where there is none. @throws UNSUPPORTED for what a newer server wrote */
export async function readLayers(path: string): Promise<ListedLayer[]> {
  const bytes = await readFile(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw fromSystemError(path, error);
  });
  if (bytes === null) return [];
  const list = parseJson(bytes, path, maxListSize) as { version?: unknown; layers: ListedLayer[] };
  checkRecordVersion(path, list.version, listVersion);
  return list.layers;
}
