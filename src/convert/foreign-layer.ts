import { failure, SeekableErofsError } from '../errors';
import { isForeignLayer } from '../format/media-types';
import type { ImageLayer } from '../image/image-layers';
import type { EncodeOptions } from '../layer/encode';
import type { BlobFile, DestinationStore, SourceStore } from '../oci/store';
import type { Descriptor } from '../oci/types';
import { copyBlob } from './copy-blob';
import type { ConvertedLayer } from './placed-layers';

/** Layers that registries don't keep ("foreign", "non-distributable"): clients fetch them from the `urls` of their descriptors. */

interface ForeignJob {
  source: SourceStore;
  destination: DestinationStore;
  options: EncodeOptions;
}

/** A layer's blob as a file. NOT_FOUND says what can be done about one that registries don't keep. */
export async function openLayerFile(
  { source, options }: Pick<ForeignJob, 'source' | 'options'>,
  descriptor: Descriptor,
): Promise<BlobFile> {
  try {
    return await source.openFile(descriptor, options);
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
  job: ForeignJob,
  { descriptor, diffId }: Pick<ImageLayer, 'descriptor' | 'diffId'>,
): Promise<ConvertedLayer> {
  await copyForeignBlob(job, descriptor);
  return { source: descriptor.digest, descriptor, diffId, uncompressedSize: null, reused: true };
}

/** Copies a blob that may be left to its `urls`; without any, and without the blob, NOT_FOUND. */
export async function copyForeignBlob(job: ForeignJob, descriptor: Descriptor): Promise<void> {
  if (await job.destination.has(descriptor)) return;
  let file: BlobFile;
  try {
    file = await openLayerFile(job, descriptor);
  } catch (error) {
    if (!isNotFound(error) || (descriptor.urls ?? []).length === 0) throw error;
    job.options.onWarning?.(
      `layer ${descriptor.digest}: its blob is not in ${job.source.name}; its urls are carried over`,
    );
    return;
  }
  try {
    await copyBlob(job, file, descriptor);
  } finally {
    await file.close();
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof SeekableErofsError && error.code === 'NOT_FOUND';
}
