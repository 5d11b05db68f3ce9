import { failure, SeekableErofsError } from '../errors';
import { isForeignLayer } from '../format/media-types';
import type { JobOptions, ResourceOptions, WarningOptions } from '../job';
import type { BlobFile, SourceStore } from '../oci/store';
import type { Descriptor } from '../oci/types';
import { copyBlob } from './copy-blob';
import type { ConvertedLayer } from './placed-layers';
import type { LayerCall, StoreRun } from './run';

/** Layers that registries don't keep ("foreign", "non-distributable"): clients fetch them from the `urls` of their descriptors. */

/** What copying takes; a warning says what was not there to be copied. */
export interface CopyOptions extends ResourceOptions, WarningOptions {}

type Stores = Pick<StoreRun, 'source' | 'destination'>;

/**
 * A layer's blob as a file; with `mayArrive` one that may still be on its way (see isArriving()). NOT_FOUND says what can be done about one
 * that registries don't keep.
 */
export async function openLayerFile(
  source: SourceStore,
  descriptor: Descriptor,
  options: JobOptions,
  mayArrive = false,
): Promise<BlobFile> {
  try {
    const arriving = mayArrive ? source.openArriving?.(descriptor, options) : undefined;
    return await (arriving ?? source.openFile(descriptor, options));
  } catch (error) {
    if (!isForeignLayer(descriptor.mediaType) || !isNotFound(error)) throw error;
    const { digest, urls = [] } = descriptor;
    const [url] = urls;
    const places =
      url === undefined ? 'and has no urls either' : `only its ${urls.length === 1 ? 'url' : 'urls'}`;
    throw failure(
      'NOT_FOUND',
      `layer ${digest}`,
      `it is non-distributable, and its blob is not in ${source.name}, ${places}`,
      url === undefined ? undefined : 'put its blob there, or carry the urls over with --keep-foreign',
    );
  }
}

/** The layer as it is: its descriptor with the `urls`, and its blob where the source has it. NOT_FOUND when it is nowhere. */
export async function keepForeignLayer(
  run: Stores,
  { layer: { descriptor, diffId }, options }: LayerCall,
): Promise<ConvertedLayer> {
  await copyForeignBlob(run, descriptor, options);
  return { source: descriptor.digest, descriptor, diffId, uncompressedSize: null, reused: true };
}

/** Copies a blob that may be left to its `urls`; without any, and without the blob, NOT_FOUND. */
export async function copyForeignBlob(
  { source, destination }: Stores,
  descriptor: Descriptor,
  options: CopyOptions,
): Promise<void> {
  if (await destination.has(descriptor)) return;
  let file: BlobFile;
  try {
    file = await openLayerFile(source, descriptor, options);
  } catch (error) {
    if (!isNotFound(error) || (descriptor.urls ?? []).length === 0) throw error;
    options.onWarning?.(
      `layer ${descriptor.digest}: its blob is not in ${source.name}; its urls are carried over`,
    );
    return;
  }
  try {
    await copyBlob(destination, file, descriptor, options);
  } finally {
    await file.close();
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof SeekableErofsError && error.code === 'NOT_FOUND';
}
