import { SeekableErofsError, failure } from '../errors';
import { parseDigest } from './digest';
import { escapePath, unescapePath } from './escaped-path';
import { jsonText, parseJson } from './json';

/**
 * A trace: what a program read of an image, in the order of first use (docs/trace.md). It belongs to paths, not to blobs, so it serves the
 * next build of the image as well.
 */
export interface Trace {
  schema: 1;
  /** What was run, as `REF@DIGEST`. */
  image: string;
  /** `os/arch[/variant]`. */
  platform: string;
  /** In the order of first use, each path once. */
  reads: TraceRead[];
}

/** What was read of one file. */
export interface TraceRead {
  /** In the merged tree, from its root, as escapePath() writes it. */
  path: string;
  /** DiffID of the layer that it was read from: a hint. */
  layer: string;
  /** Offset and length in bytes, rising and disjoint. */
  ranges: [number, number][];
  /** Of the first read, since the mount. */
  firstMs: number;
}

export const traceSchema = 1;
/** Bytes of a trace: some 500,000 files. */
export const maxTraceSize = 64 << 20;

/** Parses and checks a trace. @throws CORRUPT naming what is wrong; UNSUPPORTED for a later schema */
export function parseTrace(bytes: Uint8Array, what: string): Trace {
  const value = parseJson(bytes, what, maxTraceSize);
  if (!isRecord(value)) throw failure('CORRUPT', what, 'a trace is a JSON object');
  const { schema, image, platform, reads } = value;
  if (schema !== traceSchema) {
    if (typeof schema === 'number' && schema > traceSchema) {
      throw failure('UNSUPPORTED', what, `its schema is ${schema}, and this version knows ${traceSchema}`);
    }
    throw failure('CORRUPT', what, `it is no trace: "schema" is not ${traceSchema}`);
  }
  if (typeof image !== 'string' || typeof platform !== 'string' || !Array.isArray(reads)) {
    throw failure('CORRUPT', what, '"image" and "platform" must be text, and "reads" a list');
  }
  const seen = new Set<string>();
  const checked = reads.map((read: unknown, i) => checkRead(read, `${what}: read ${i}`));
  for (const { path } of checked) {
    if (seen.has(path)) throw failure('CORRUPT', what, `${path} is there twice`);
    seen.add(path);
  }
  return { schema: traceSchema, image, platform, reads: checked };
}

function checkRead(read: unknown, what: string): TraceRead {
  if (!isRecord(read)) throw failure('CORRUPT', what, 'it is no object');
  const { path, layer, ranges, firstMs } = read;
  if (typeof path !== 'string' || !isPath(path)) {
    throw failure('CORRUPT', what, '"path" must begin at the root: /usr/bin/env');
  }
  if (typeof layer !== 'string') throw failure('CORRUPT', what, '"layer" must be a DiffID');
  parseDigest(layer, what);
  if (typeof firstMs !== 'number' || firstMs < 0) {
    throw failure('CORRUPT', what, '"firstMs" must be milliseconds');
  }
  if (!Array.isArray(ranges)) throw failure('CORRUPT', what, '"ranges" must be a list');
  let end = 0;
  for (const range of ranges as unknown[]) end = checkRange(range, end, what);
  return { path, layer, ranges: ranges as [number, number][], firstMs };
}

function isPath(path: string): boolean {
  if (!path.startsWith('/')) return false;
  try {
    return escapePath(unescapePath(path)) === path;
  } catch (error) {
    if (error instanceof SeekableErofsError) return false;
    throw error;
  }
}

/** Returns where the range ends. */
function checkRange(range: unknown, from: number, what: string): number {
  const numbers: unknown[] = Array.isArray(range) ? range : [];
  const [offset, length] = numbers as [number, number];
  const isOne = numbers.length === 2 && numbers.every((value) => Number.isSafeInteger(value));
  if (!isOne || offset < from || length <= 0 || !Number.isSafeInteger(offset + length)) {
    throw failure('CORRUPT', what, '"ranges" must be offsets and lengths, rising and disjoint');
  }
  return offset + length;
}

/** The bytes of a trace: a line for each file. */
export function serializeTrace({ schema, image, platform, reads }: Trace): Buffer {
  const head = jsonText({ schema, image, platform }).slice(0, -1);
  const lines = reads.map((read) => jsonText(read)).join(',\n');
  return Buffer.from(`${head},"reads":[\n${lines}\n]}\n`);
}

/**
 * One trace of several runs: files in the order in which the earliest of them read each, and all that any of them read. Image and platform
 * are those of the first. USAGE when platforms differ, or without any trace.
 */
export function mergeTraces(traces: readonly Trace[]): Trace {
  const [first] = traces;
  if (first === undefined) throw failure('USAGE', 'traces', 'there is none to merge');
  const other = traces.find(({ platform }) => platform !== first.platform);
  if (other !== undefined) {
    throw failure('USAGE', 'traces', `one is of ${first.platform}, another of ${other.platform}`);
  }
  const byPath = new Map<string, TraceRead>();
  for (const read of traces.flatMap(({ reads }) => reads)) {
    const known = byPath.get(read.path);
    byPath.set(read.path, known === undefined ? read : united(known, read));
  }
  // A stable sort: of files first read in the same millisecond, the order of the first trace stays.
  const reads = [...byPath.values()].sort((a, b) => a.firstMs - b.firstMs);
  return { ...first, reads };
}

function united(a: TraceRead, b: TraceRead): TraceRead {
  return { ...a, ranges: mergeRanges([...a.ranges, ...b.ranges]), firstMs: Math.min(a.firstMs, b.firstMs) };
}

/** Ranges in any order, as rising and disjoint ones; what touches becomes one. */
export function mergeRanges(ranges: readonly [number, number][]): [number, number][] {
  const merged: [number, number][] = [];
  for (const [offset, length] of [...ranges].sort(([a], [b]) => a - b)) {
    const last = merged.at(-1);
    if (last !== undefined && offset <= last[0] + last[1]) {
      last[1] = Math.max(last[1], offset + length - last[0]);
    } else {
      merged.push([offset, length]);
    }
  }
  return merged;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
