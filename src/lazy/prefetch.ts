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

/**
 * Asks for what programs were seen to read, before one does: a layer's hot part, and what a trace names. The layer's metadata must be here.
 * `size` is its image's.
 */
export async function prefetch(layer: LazyLayer, size: number, request: LazyLayerRequest): Promise<void> {
  const { descriptor, prefetch } = request;
  if (prefetch === 'none') return;
  const hotEnd = Math.min(hotEndOf(descriptor, size) ?? 0, maxHotPart);
  for (let chunk = 0; layer.starts[chunk]! < hotEnd; chunk++) layer.want(chunk, 'prefetch');
  if (prefetch === undefined) return;
  await prefetchReads(layer, size, request, (await readTrace(prefetch.file)).reads);
}

/** Asks for what a trace names, in its order. As prefetch(). */
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
  for (const read of own) await wantFile(layer, files, read);
}

/** A path that the layer has not, or has as something else, is of another layer or was there once. */
async function wantFile(
  layer: LazyLayer,
  files: ErofsFilesystem,
  { path, ranges }: TraceRead,
): Promise<void> {
  try {
    const inode = await files.lstat(unescapePath(path));
    if (inode.type !== 'file') return;
    const read: typeof ranges = ranges.length === 0 ? [[0, inode.size]] : ranges;
    for await (const { offset, length, address, source } of files.extentsOf(inode)) {
      if (source === null) continue;
      for (const [start, count] of read) {
        const from = Math.max(start, offset);
        const to = Math.min(start + count, offset + length);
        if (from < to) wantBytes(layer, address + from - offset, address + to - offset);
      }
    }
  } catch (error) {
    if (!(error instanceof SeekableErofsError) || !['NOT_FOUND', 'FAILED'].includes(error.code)) throw error;
  }
}

function wantBytes(layer: LazyLayer, start: number, end: number): void {
  for (let chunk = chunkAt(layer.starts, start); layer.starts[chunk]! < end; chunk++)
    layer.want(chunk, 'prefetch');
}
