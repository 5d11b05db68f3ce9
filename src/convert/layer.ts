import { failure } from '../errors';
import { readSeekableAnnotations, stripSeekableAnnotations } from '../format/annotations';
import { checkSameDigest } from '../format/digest';
import { isErofsLayer, isForeignLayer, layerFormat } from '../format/media-types';
import type { EncodeSettings } from '../format/profiles';
import { openTemporary } from '../fs/temporary';
import { checkBlobDigest, digestOfFile } from '../layer/content-digest';
import { decodeTo } from '../layer/decode';
import { encodeImage, settingsOf, type EncodedLayer, type EncodeOptions } from '../layer/encode';
import { openLayerImage } from '../layer/layer-image';
import { warnOfUnusedMkfs } from '../layer/mkfs-options';
import { openSeekable, type SeekableBlob } from '../layer/seekable';
import { native, type NativeSource } from '../native/binding';
import type { BlobFile, DestinationStore, SourceStore } from '../oci/store';
import type { Descriptor } from '../oci/types';
import { copyBlob } from './copy-blob';
import type { NewLayer } from './rewrite';

/** A layer of the source, and what took its place. */
export interface ConvertedLayer extends NewLayer {
  /** Digest of the source's layer. */
  source: string;
  /** Bytes of the raw image; null of a layer that was kept and is no EROFS. */
  uncompressedSize: number | null;
  /** Passed through as it was. */
  reused: boolean;
}

/** What the conversion of every layer needs. */
export interface LayerJob {
  source: SourceStore;
  destination: DestinationStore;
  settings: EncodeSettings;
  options: EncodeOptions;
}

/**
 * One layer of an image, converted into the destination. A seekable blob that is as it was asked for, and a layer that registries
 * don't keep, stay as they are; everything else is built, decoded or decompressed, and wrapped. The source's bytes are checked
 * against descriptor and DiffID on the way: nothing is committed before.
 */
export async function convertLayer(
  job: LayerJob,
  descriptor: Descriptor,
  diffId: string,
): Promise<ConvertedLayer> {
  const { mediaType, digest } = descriptor;
  if (isForeignLayer(mediaType)) {
    return { source: digest, descriptor, diffId, uncompressedSize: null, reused: true };
  }
  if (layerFormat(mediaType) === null) {
    throw failure('UNSUPPORTED', `layer ${digest}`, `its media type ${mediaType} is neither a tar nor EROFS`);
  }
  const file = await job.source.openFile(descriptor, job.options);
  try {
    const seekable = isErofsLayer(mediaType) && readSeekableAnnotations(descriptor.annotations) !== null;
    return seekable
      ? await convertSeekable(job, file, descriptor, diffId)
      : await convertOther(job, file, descriptor, diffId);
  } finally {
    await file.close();
  }
}

async function convertSeekable(job: LayerJob, file: BlobFile, descriptor: Descriptor, diffId: string) {
  const { digest } = descriptor;
  warnOfUnusedMkfs(file.name, job.options);
  const blob = await openSeekable(file, { ...job.options, descriptor });
  const expected = { ...job.options, descriptor: { ...descriptor, diffId } };
  if (isAsAsked(blob, job)) {
    await decodeTo(file, blob, null, expected); // a layer that is passed on was checked as well
    await copyBlob(job, file, descriptor);
    const uncompressedSize = blob.tree?.dataSize ?? blob.section.uncompressedSize;
    return { source: digest, descriptor, diffId, uncompressedSize, reused: true };
  }
  const image = await openTemporary(job.options.tmpDir);
  try {
    await decodeTo(file, blob, image, expected);
    const size = blob.tree?.dataSize ?? blob.section.uncompressedSize;
    const source = new native.Source({ fd: image.fd, offset: 0, size, name: file.name });
    return await wrap(withTreeAsBefore(job, blob), source, descriptor, async () => undefined);
  } finally {
    await image.close();
  }
}

/** Options that were not given match anything. */
function isAsAsked(
  { profile, section, tree }: SeekableBlob,
  { settings, options: asked }: LayerJob,
): boolean {
  const vouched = tree?.vouched === true ? tree.superblock : null;
  const wanted = settings.verity;
  return (
    (asked.profile === undefined || settings.profile === profile) &&
    (asked.chunkSize === undefined || settings.chunkSize === section.chunkSize) &&
    (asked.dmVerity === undefined || asked.dmVerity === (vouched !== null)) &&
    (wanted === null ||
      asked.dmVerityBlockSize === undefined ||
      wanted.blockSize === vouched?.dataBlockSize) &&
    (wanted === null || asked.dmVerityHash === undefined || wanted.algorithm === vouched?.algorithm)
  );
}

/** A layer that had a tree keeps one when nothing was said of that. */
function withTreeAsBefore(job: LayerJob, { tree }: SeekableBlob): LayerJob {
  if (job.options.dmVerity !== undefined || tree?.vouched !== true) return job;
  return { ...job, settings: settingsOf({ ...job.options, dmVerity: true }) };
}

/** A tar is built, an EROFS image taken as it is, both decompressed if need be; then wrapped. */
async function convertOther(job: LayerJob, file: BlobFile, descriptor: Descriptor, diffId: string) {
  const layer = await openLayerImage(file, job.options);
  try {
    // A plain layer was not read whole yet: that goes on beside its encoding.
    const plainDigest = layer.sourceDigest === null ? digestOfFile(file, job.options) : null;
    plainDigest?.catch(() => undefined); // awaited below, unless encoding fails first
    return await wrap(job, layer.image, descriptor, async () => {
      const digest = layer.sourceDigest ?? (await plainDigest!);
      await checkBlobDigest(file, descriptor, job.options, digest);
      checkSameDigest(`${file.name}: DiffID`, diffId, layer.contentDigest ?? digest);
    });
  } finally {
    layer.close();
  }
}

/** Encodes an image into a draft of the destination, which becomes a blob once `check` has passed. Closes the image. */
async function wrap(
  { destination, settings, options }: LayerJob,
  image: NativeSource,
  old: Descriptor,
  check: () => Promise<void>,
): Promise<ConvertedLayer> {
  const draft = await destination.createBlob();
  try {
    const encoded = await encodeImage(image, draft, settings, options, `blob ${old.digest}`);
    await check();
    const descriptor = descriptorOf(encoded, old);
    await draft.commit(descriptor);
    const { diffId, uncompressedSize } = encoded;
    return { source: old.digest, descriptor, diffId, uncompressedSize, reused: false };
  } catch (error) {
    await draft.discard();
    throw error;
  } finally {
    image.close();
  }
}

/** Annotations of the old descriptor that say nothing of its encoding stay. */
function descriptorOf({ mediaType, digest, size, annotations }: EncodedLayer, old: Descriptor): Descriptor {
  return {
    mediaType,
    digest,
    size,
    annotations: { ...stripSeekableAnnotations(old.annotations ?? {}), ...annotations },
  };
}
