import { failure } from '../errors';
import { isTarLayer } from '../format/media-types';
import type { Descriptor } from '../oci/types';
import type { BlobFile } from '../oci/store';
import type { ByteSource } from '../source/byte-source';
import { checkBlobDigest } from './content-digest';
import { findTableFrame } from './frame-walk';
import { openLocation, type LayerLocation } from './location';
import { openBlob, type BlobOptions } from './open-blob';
import { isSeekableLayer } from './seekable';
import { sniffLayer } from './sniff';

/** What openImageSource() takes. */
export interface ImageSourceOptions extends BlobOptions {
  /** What the layer must be. */
  descriptor?: (Pick<Descriptor, 'digest' | 'size' | 'annotations'> & { mediaType?: string }) | undefined;
}

/**
 * The bytes of the EROFS image of a layer, raw or a seekable blob, told apart by content. A raw image in a file is checked whole against a
 * descriptor; elsewhere it is UNVERIFIED unless that is allowed, for reading parts of it verifies nothing. USAGE for a tar, CORRUPT for
 * what is no layer, else as openBlob(). A source that is given is closed with it, also when this fails.
 */
export async function openImageSource(
  location: LayerLocation,
  options: ImageSourceOptions = {},
): Promise<ByteSource> {
  const source = await openLocation(location, options);
  let isSeekable: boolean;
  try {
    isSeekable = await isBlob(source, options);
    if (!isSeekable) await checkRawImage(source, options);
  } catch (error) {
    await source.close();
    throw error;
  }
  return isSeekable ? openBlob(source, options) : source;
}

/** Whether it is a seekable blob; else it is a raw image, or this fails. */
async function isBlob(source: ByteSource, options: ImageSourceOptions): Promise<boolean> {
  const { descriptor, allowUnverified = false, signal } = options;
  if (isSeekableLayer(descriptor, options.indexLayer)) return true;
  if (isTarLayer(descriptor?.mediaType ?? '')) throw isTar(source);
  const content = await sniffLayer(source, signal);
  if (content === 'erofs') return false;
  if (content === 'unknown') {
    throw failure('CORRUPT', source.name, 'its content is neither an EROFS image nor a seekable blob');
  }
  if (content !== 'zstd') throw isTar(source);
  // Looking for a table reads all of it: not where openBlob() would refuse it anyway.
  const isRefused = descriptor !== undefined && !allowUnverified;
  if (!isRefused && (await findTableFrame(source, signal)) === null) throw isTar(source);
  return true;
}

function isTar(source: ByteSource): Error {
  const hint = 'make it EROFS first: see encode for a layer, convert for an image';
  return failure('USAGE', source.name, 'it is a tar layer', hint);
}

async function checkRawImage(source: ByteSource, options: ImageSourceOptions): Promise<void> {
  const { descriptor, allowUnverified = false, signal } = options;
  if (descriptor === undefined) return;
  if (descriptor.size !== source.size) {
    const why = `${source.size} bytes, but its descriptor says ${descriptor.size}`;
    throw failure('MISMATCH', source.name, why);
  }
  if (isFile(source)) {
    await checkBlobDigest(source, descriptor, { signal });
  } else if (!allowUnverified) {
    const hint = 'encode it to a seekable blob, or fetch it to a file, or --allow-unverified';
    throw failure('UNVERIFIED', source.name, 'parts of a raw image cannot be verified', hint);
  }
}

function isFile(source: ByteSource): source is BlobFile {
  return 'fd' in source && 'offset' in source;
}
