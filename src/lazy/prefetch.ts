import { SeekableErofsError } from '../errors';
import type { PlacedExtent } from '../erofs/data';
import { openErofs, type ErofsFilesystem } from '../erofs/filesystem';
import { hotEndOf } from '../format/annotations';
import { unescapePath } from '../format/escaped-path';
import type { TraceRead } from '../format/trace';
import { readTrace } from '../image/trace-file';
import { chunkAt } from '../layer/decoded-range';
import type { LazyLayer } from './lazy-layer';
import type { LazyLayerRequest } from './messages';

/** Of a hot part, as its annotation says: what programs read at their start is less. */
const maxHotPart = 256 << 20;
/** Files of a trace that are looked up at most. */
const maxReads = 20_000;
/** Files of a trace that are looked up before any of their chunks is asked for. */
const firstReads = 8;

/**
 * Asks for a layer's hot part before a program reads it: with the metadata, which lies before it, in one request. `size` is that of the
 * layer's image. Returns how many chunks they are; 0 where there is none.
 */
export function prefetchHotPart(
  layer: LazyLayer,
  size: number,
  { descriptor, prefetch }: LazyLayerRequest,
): number {
  if (prefetch === 'none') return 0;
  const hotEnd = Math.min(hotEndOf(descriptor, size) ?? 0, maxHotPart);
  if (hotEnd === 0) return 0;
  const end = chunkAt(layer.starts, hotEnd - 1) + 1;
  for (let chunk = 0; chunk < end; chunk++) layer.want(chunk, 'prefetch', end);
  return end;
}

/** What the trace names that the mount was given; null when it was given none. Errors as readTrace(). */
export async function givenReads({ prefetch }: LazyLayerRequest): Promise<readonly TraceRead[] | null> {
  if (prefetch === undefined) return null;
  return prefetch === 'none' ? [] : (await readTrace(prefetch.file)).reads;
}

/**
 * Asks for what a trace names before a program reads it, in its order. The layer's metadata must be here; `size` is that of its image. Of a
 * trace that names more than any program reads at its start, the beginning counts.
 */
export async function prefetchReads(
  layer: Pick<LazyLayer, 'starts' | 'want' | 'asSource'>,
  size: number,
  { diffId, image }: Pick<LazyLayerRequest, 'diffId' | 'image'>,
  reads: readonly TraceRead[],
): Promise<void> {
  // A file of another layer hides the one that this layer may have under its path.
  const others = new Set(image?.diffIds.filter((other) => other !== diffId));
  const own = reads.filter((read) => !others.has(read.layer)).slice(0, maxReads);
  if (own.length === 0) return;
  const files = await openErofs(layer.asSource(size));
  const wanted = new WantedChunks(layer);
  for (const [i, read] of own.entries()) {
    await wanted.addFile(files, read);
    // What is asked for at once is joined; the first are not to wait for the last to be looked up.
    if (wanted.isFull || (i + 1 >= firstReads && Number.isInteger(Math.log2(i + 1)))) wanted.ask();
    if (wanted.isFull) return;
  }
  wanted.ask();
}

/** The chunks that a trace wants of a layer, each once. */
class WantedChunks {
  private readonly known = new Set<number>();
  private unasked: number[] = [];
  private bytes = 0;

  constructor(private readonly layer: Pick<LazyLayer, 'starts' | 'want'>) {}

  /** As many as there are in any hot part. */
  get isFull(): boolean {
    return this.bytes >= maxHotPart;
  }

  ask(): void {
    for (const chunk of this.unasked) this.layer.want(chunk, 'prefetch');
    this.unasked = [];
  }

  /** Those that have what was read of a file. A path that the layer has not, or has as something else, is of another layer or was there once. */
  async addFile(files: ErofsFilesystem, { path, ranges }: TraceRead): Promise<void> {
    try {
      const inode = await files.lstat(unescapePath(path));
      if (inode.type !== 'file') return;
      const read: typeof ranges = ranges.length === 0 ? [[0, inode.size]] : ranges;
      let next = 0;
      for await (const extent of files.extentsOf(inode)) {
        const end = extent.offset + extent.length;
        // Both rise: what ends before this extent is of none that follows.
        while (next < read.length && read[next]![0] + read[next]![1] <= extent.offset) next++;
        for (let i = next; i < read.length && read[i]![0] < end && !this.isFull; i++)
          this.addRange(extent, read[i]!);
      }
    } catch (error) {
      if (!(error instanceof SeekableErofsError) || !['NOT_FOUND', 'FAILED'].includes(error.code))
        throw error;
    }
  }

  private addRange(
    { offset, length, address, source }: PlacedExtent,
    [start, count]: [number, number],
  ): void {
    if (source === null) return;
    const { starts } = this.layer;
    const from = address + Math.max(start, offset) - offset;
    const to = address + Math.min(start + count, offset + length) - offset;
    for (let chunk = chunkAt(starts, from); starts[chunk]! < to && !this.isFull; chunk++) {
      if (this.known.has(chunk)) continue;
      this.known.add(chunk);
      this.unasked.push(chunk);
      this.bytes += starts[chunk + 1]! - starts[chunk]!;
    }
  }
}
