import { SeekableErofsError, failure } from '../errors';
import { openErofs, type ErofsFilesystem } from '../erofs/filesystem';
import { unescapePath } from '../format/escaped-path';
import type { Trace, TraceRead } from '../format/trace';
import type { ResourceOptions } from '../job';
import { erofsSourceAt } from '../layer/erofs-source';
import { parseReference } from '../oci/reference';
import type { SourceStore } from '../oci/store';
import type { ByteSource } from '../source/byte-source';
import { checkOptions } from '../options';
import { openSource } from '../store/open';
import type { RegistryOptions } from '../store/registry/options';
import { compositionOf, readIndexOf, type ImageLayer } from './image-layers';
import { openImageSet } from './image-set';

/** How much of an image a trace names; bytes uncompressed. */
export interface TraceShare {
  bytesRead: number;
  /** Of all its layers. */
  imageBytes: number;
}

/** What traceShare() takes. */
export interface TraceShareOptions extends ResourceOptions, RegistryOptions {}

/** A list of what was read is not kept waiting by a registry that is away; in milliseconds. */
const patience = 10_000;

/** What the trace says by itself was read; files that were read whole are not in it. */
function tracedBytes(reads: readonly Pick<TraceRead, 'ranges'>[]): number {
  return reads.reduce((sum, { ranges }) => sum + ranges.reduce((bytes, [, length]) => bytes + length, 0), 0);
}

/**
 * How much of its image a trace names: the image is asked for the sizes of its layers, and of files that were read whole. MISMATCH when the
 * reference names another one by now; else as openErofsSource() and the store.
 */
export async function traceShare(trace: Trace, options: TraceShareOptions = {}): Promise<TraceShare> {
  checkOptions('traceShare', options);
  const { reference, digest } = partsOf(trace.image);
  const signal = AbortSignal.any([
    AbortSignal.timeout(patience),
    ...(options.signal ? [options.signal] : []),
  ]);
  const quick = { ...options, signal, retry: { attempts: 1 }, timeout: patience };
  const opened = await openSource(reference, quick);
  try {
    const asked = { platforms: [trace.platform], feature: 'erofs' };
    const { images } = await openImageSet(opened.store, opened.reference, asked);
    const [image] = images;
    if (image!.descriptor.digest !== digest)
      throw failure('MISMATCH', reference, `it is another image by now, not ${digest}`);
    const { lowers, data } = compositionOf(image!);
    return await measure(opened.store, [...data, ...lowers], trace, quick);
  } finally {
    await opened.store.close();
  }
}

/** A registry is asked by the digest, a layout by the name: what has a name there may be an index. */
function partsOf(image: string): { reference: string; digest: string } {
  const at = image.lastIndexOf('@');
  const [reference, digest] = [image.slice(0, Math.max(at, 0)), image.slice(at + 1)];
  const isInRegistry = parseReference(image).transport === 'docker';
  return { reference: isInRegistry ? image : reference, digest };
}

async function measure(
  store: SourceStore,
  layers: readonly ImageLayer[],
  { reads }: Trace,
  options: TraceShareOptions,
): Promise<TraceShare> {
  const whole = reads.filter(({ ranges }) => ranges.length === 0);
  const found = new Map<string, number>();
  let imageBytes = 0;
  for (const layer of layers) {
    const { descriptor } = layer;
    const indexLayer = await readIndexOf(store, layer);
    const stored = await store.openBlob(descriptor);
    const source = await erofsSourceAt(stored, { ...options, descriptor, indexLayer });
    try {
      imageBytes += source.size;
      for (const [path, size] of await sizesOf(source, whole)) found.set(path, size); // the upper one counts
    } finally {
      await source.close();
    }
  }
  const bytesRead = [...found.values()].reduce((sum, size) => sum + size, tracedBytes(reads));
  return { bytesRead, imageBytes };
}

async function sizesOf(
  source: ByteSource,
  reads: readonly TraceRead[],
): Promise<(readonly [path: string, size: number])[]> {
  if (reads.length === 0) return [];
  const files = await openErofs(source);
  const sizes = await Promise.all(reads.map(async ({ path }) => [path, await sizeOf(files, path)] as const));
  return sizes.filter((entry): entry is [string, number] => entry[1] !== null);
}

async function sizeOf(files: ErofsFilesystem, path: string): Promise<number | null> {
  try {
    const { type, size } = await files.lstat(unescapePath(path));
    return type === 'file' ? size : null;
  } catch (error) {
    if (error instanceof SeekableErofsError && ['NOT_FOUND', 'FAILED'].includes(error.code)) return null;
    throw error;
  }
}
