import { writeFile } from 'node:fs';
import { promisify } from 'node:util';
import { openErofs } from '../erofs/filesystem';
import type { PlacedExtent } from '../erofs/data';
import { escapePath } from '../format/escaped-path';
import {
  mergeRanges,
  mergeTraces,
  serializeTrace,
  traceSchema,
  type Trace,
  type TraceRead,
} from '../format/trace';
import { writeAtomically } from '../fs/atomic-file';
import { readTrace } from '../image/trace-file';
import type { ByteSource } from '../source/byte-source';

/** What a mount asks to have recorded. */
export interface RecordRequest {
  /** Of the mount: its layers are recorded together. */
  id: string;
  /** Where the trace goes. */
  file: string;
  /** `REF@DIGEST`. */
  image: string;
  platform: string;
  /** When the mount began; milliseconds since 1970. */
  started: number;
}

/** A layer that is recorded. */
export interface RecordedLayer {
  diffId: string;
  /** The image in it; its metadata is read. */
  source: ByteSource;
  /** When takeReads() began to count; milliseconds since 1970. */
  began: number;
  /** Pieces of the image that were read for the first time since the last call: offset, length, milliseconds, in turn. */
  takeReads: () => Float64Array;
}

/** A piece of an image that was read. */
interface Piece {
  offset: number;
  length: number;
  firstMs: number;
}

/** What the programs on one mount read, as a trace that is written now and then. */
export class TraceRecorder {
  private readonly layers: RecordedLayer[] = [];
  private trace: Trace;
  private writing: Promise<void> = Promise.resolve();

  private constructor(private readonly request: RecordRequest) {
    const { image, platform } = request;
    this.trace = { schema: traceSchema, image, platform, reads: [] };
  }

  /** `goesOn`: another server began it, and what that one wrote belongs to it. */
  static async open(request: RecordRequest, goesOn: boolean): Promise<TraceRecorder> {
    const recorder = new TraceRecorder(request);
    if (!goesOn) return recorder;
    const earlier = await readTrace(request.file).catch(() => null);
    if (earlier !== null) recorder.trace = mergeTraces([recorder.trace, earlier]);
    return recorder;
  }

  add(layer: RecordedLayer): void {
    this.layers.push(layer);
  }

  /** Writes what was read until now. Calls take turns. Rejects with what the folder says. */
  async flush(): Promise<void> {
    this.writing = this.writing.catch(() => undefined).then(() => this.flushOnce());
    return this.writing;
  }

  private async flushOnce(): Promise<void> {
    const { image, platform, started, file } = this.request;
    for (const layer of this.layers) {
      const pieces = piecesOf(layer.takeReads(), layer.began - started);
      if (pieces.length === 0) continue;
      const reads = await readsOf(layer, pieces);
      this.trace = mergeTraces([this.trace, { schema: traceSchema, image, platform, reads }]);
    }
    await writeAtomically(file, async ({ fd }) => {
      await promisify(writeFile)(fd, serializeTrace(this.trace));
    });
  }
}

/** By rising offset. */
function piecesOf(reads: Float64Array, later: number): Piece[] {
  const pieces = Array.from({ length: reads.length / 3 }, (_, i) => ({
    offset: reads[3 * i]!,
    length: reads[3 * i + 1]!,
    firstMs: Math.max(0, Math.round(reads[3 * i + 2]! + later)),
  }));
  return pieces.sort((a, b) => a.offset - b.offset);
}

/**
 * The files of a layer that pieces of its image belong to. Metadata is of no file, nor are tails that lie in it: a mount has all of it
 * anyway.
 */
async function readsOf({ diffId, source }: RecordedLayer, pieces: readonly Piece[]): Promise<TraceRead[]> {
  const image = await openErofs(source);
  if (image.info.externalDevices > 0) return []; // its data is in other layers
  const reads: TraceRead[] = [];
  const seen = new Set<bigint>();
  for await (const { path, inode } of image.walk()) {
    if (inode.type !== 'file' || inode.size === 0) continue;
    if (inode.nlink > 1) {
      if (seen.has(inode.nid)) continue;
      seen.add(inode.nid);
    }
    const hit = await piecesOfFile(image.extentsOf(inode), pieces);
    if (hit.length === 0) continue;
    const ranges = mergeRanges(hit.map(({ offset, length }) => [offset, length]));
    reads.push({
      path: escapePath(path),
      layer: diffId,
      ranges,
      firstMs: Math.min(...hit.map((piece) => piece.firstMs)),
    });
  }
  return reads;
}

/** What pieces of the image are in the file, offsets counted there. */
async function piecesOfFile(
  extents: Iterable<PlacedExtent> | AsyncIterable<PlacedExtent>,
  pieces: readonly Piece[],
): Promise<Piece[]> {
  const found: Piece[] = [];
  for await (const { offset, length, address, source, inline } of extents) {
    if (source === null || inline === true) continue; // compressed, or a tail in the metadata
    for (let at = firstAfter(pieces, address); at < pieces.length; at++) {
      const piece = pieces[at]!;
      if (piece.offset >= address + length) break;
      const from = Math.max(piece.offset, address);
      const to = Math.min(piece.offset + piece.length, address + length);
      found.push({ offset: offset + from - address, length: to - from, firstMs: piece.firstMs });
    }
  }
  return found;
}

/** The first piece that ends behind `address`. They don't overlap. */
function firstAfter(pieces: readonly Piece[], address: number): number {
  let [low, high] = [0, pieces.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (pieces[middle]!.offset + pieces[middle]!.length <= address) low = middle + 1;
    else high = middle;
  }
  return low;
}
