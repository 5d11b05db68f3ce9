import { failure } from '../errors';
import type { ResourceOptions } from '../job';
import { streamCompression } from '../format/media-types';
import type { BlobFile } from '../oci/store';
import { checkOptions } from '../options';
import type { ByteSource } from '../source/byte-source';
import { sliceSource } from '../source/slice';
import type { LayerDescriptor } from './decode';
import { layerKind } from './layer-kind';
import { openLocation, type LayerLocation } from './location';
import { openBlobIn, type BlobOptions, type SharedCacheOptions } from './open-blob';
import { isBlobFile, spool } from './spool';
import { isSeekableLayer } from './seekable';
import {
  isTarLayer,
  noTable,
  openWholeDevice,
  openWholeLayer,
  unlessUnreadable,
  type WholeLayer,
} from './whole-layer';

/** What openErofsSource() takes. */
export interface ErofsSourceOptions extends BlobOptions, ResourceOptions {
  /** What the layer must be. */
  descriptor?: LayerDescriptor | undefined;
}

/**
 * The bytes of the EROFS image of a layer, raw or a seekable blob. A raw image is checked whole against its descriptor, and fetched for that
 * where it is no file; with `allowUnverified` parts of it are read elsewhere as they are. UNVERIFIED for zstd without a table of chunks,
 * unless that is allowed: then it is decompressed whole, and checked. USAGE for a tar, CORRUPT for what is no layer, else as openBlob(). A
 * source that is given is closed with it, also when this fails.
 */
export async function openErofsSource(
  location: LayerLocation,
  options: ErofsSourceOptions = {},
): Promise<ByteSource> {
  checkOptions('openErofsSource', options);
  return erofsSourceAt(location, options);
}

/** As openErofsSource(), for callers whose options are checked and say more. */
export async function erofsSourceAt(
  location: LayerLocation,
  options: ErofsSourceOptions & SharedCacheOptions,
): Promise<ByteSource> {
  return openAt(location, options, openInParts, openWholeLayer);
}

/**
 * The bytes that a layer of role `device` stands for, for callers whose options are checked. It is read in parts by its chunk index; without
 * one it is fetched, decompressed and checked whole, unless it is uncompressed and `allowUnverified` is set. Errors as openWholeDevice().
 */
export async function deviceSourceAt(
  location: LayerLocation,
  options: ErofsSourceOptions & SharedCacheOptions,
): Promise<ByteSource> {
  return openAt(location, options, openDeviceInParts, openWholeDevice);
}

/** In parts, or whole where `openParts` gives null. */
async function openAt(
  location: LayerLocation,
  options: ErofsSourceOptions & SharedCacheOptions,
  openParts: typeof openInParts,
  openWhole: typeof openWholeLayer,
): Promise<ByteSource> {
  const source = await openLocation(location, options);
  try {
    const opened = await openParts(source, options);
    if (opened !== null) return opened;
  } catch (error) {
    await source.close();
    throw error;
  }
  return openWholeImage(await spool(source, options), options, openWhole);
}

async function openDeviceInParts(
  source: ByteSource,
  options: ErofsSourceOptions & SharedCacheOptions,
): Promise<ByteSource | null> {
  const { descriptor, indexLayer, allowUnverified = false } = options;
  if (isSeekableLayer(descriptor, indexLayer)) return unlessUnreadable(openBlobIn(source, options));
  checkSize(source, descriptor);
  const isPlain = streamCompression(descriptor?.mediaType ?? '') === 'none';
  return isPlain && allowUnverified && !isBlobFile(source) ? source : null;
}

/** Null for a layer that must be read whole first. */
async function openInParts(
  source: ByteSource,
  options: ErofsSourceOptions & SharedCacheOptions,
): Promise<ByteSource | null> {
  const { descriptor, allowUnverified = false } = options;
  const kind = await layerKind(source, options);
  if (kind === 'tar') throw isTarLayer(source.name);
  if (kind === 'seekable') return unlessUnreadable(openBlobIn(source, options));
  if (kind === 'zstd') {
    if (!allowUnverified) throw noTable(source.name);
    return null;
  }
  checkSize(source, descriptor);
  const isPlain = descriptor === undefined || (allowUnverified && !isBlobFile(source));
  return isPlain ? source : null;
}

function checkSize({ size, name }: ByteSource, descriptor: LayerDescriptor | undefined): void {
  if (descriptor === undefined || descriptor.size === size) return;
  throw failure('MISMATCH', name, `${size} bytes, but its descriptor says ${descriptor.size}`);
}

/** The image of a layer that was checked whole, or that nobody knows anything of. Takes the file over. */
async function openWholeImage(
  file: BlobFile,
  options: ErofsSourceOptions,
  open: typeof openWholeLayer,
): Promise<ByteSource> {
  let layer: WholeLayer | undefined;
  const close = async (): Promise<void> => {
    layer?.close();
    await file.close();
  };
  try {
    layer = await open(file, options);
    if (options.descriptor !== undefined) await layer.decode(null, options);
    const { data, blob } = layer;
    if (data === file && blob.imageSize === file.size) return file;
    return { ...sliceSource(data, 0, blob.imageSize), close };
  } catch (error) {
    await close();
    throw error;
  }
}
