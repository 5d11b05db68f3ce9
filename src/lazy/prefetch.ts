import { SeekableErofsError } from '../errors';
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

/** Asks for what a trace names before a program reads it, in its order. The layer's metadata must be here; `size` is that of its image. */
export async function prefetchReads(
  layer: LazyLayer,
  size: number,
  { diffId, image }: Pick<LazyLayerRequest, 'diffId' | 'image'>,
  reads: readonly TraceRead[],
): Promise<void> {
  // A file of another layer hides the one that this layer may have under its path.
  const others = new Set(image?.diffIds.filter((other) => other !== diffId));
  const own = reads.filter((read) => !others.has(read.layer));
  if (own.length === 0) return;
  const files = await openErofs(layer.asSource(size));
  const known = new Set<number>();
  for (const [i, read] of own.entries()) {
    for (const chunk of await chunksOf(layer, files, read)) known.add(chunk);
    // What is asked for at once is joined; the first are not to wait for the last to be looked up.
    if (i + 1 < firstReads || Math.log2(i + 1) % 1 !== 0) continue;
    wantAll(layer, known);
  }
  wantAll(layer, known);
}

function wantAll(layer: LazyLayer, chunks: Set<number>): void {
  for (const chunk of chunks) layer.want(chunk, 'prefetch');
  chunks.clear();
}

/** The chunks that have what was read of a file. A path that the layer has not, or has as something else, is of another layer or was there once. */
async function chunksOf(
  layer: LazyLayer,
  files: ErofsFilesystem,
  { path, ranges }: TraceRead,
): Promise<number[]> {
  const chunks: number[] = [];
  try {
    const inode = await files.lstat(unescapePath(path));
    if (inode.type !== 'file') return [];
    const read: typeof ranges = ranges.length === 0 ? [[0, inode.size]] : ranges;
    for await (const { offset, length, address, source } of files.extentsOf(inode)) {
      if (source === null) continue;
      for (const [start, count] of read) {
        const from = Math.max(start, offset);
        const to = Math.min(start + count, offset + length);
        if (from < to) chunks.push(...chunksBetween(layer, address + from - offset, address + to - offset));
      }
    }
  } catch (error) {
    if (!(error instanceof SeekableErofsError) || !['NOT_FOUND', 'FAILED'].includes(error.code)) throw error;
  }
  return chunks;
}

function chunksBetween({ starts }: LazyLayer, start: number, end: number): number[] {
  const first = chunkAt(starts, start);
  return Array.from({ length: chunkAt(starts, end - 1) + 1 - first }, (_, i) => first + i);
}
