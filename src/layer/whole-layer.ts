import { failure, SeekableErofsError } from '../errors';
import { readSeekableAnnotations, type SpecSeekable } from '../format/annotations';
import { streamCompression } from '../format/media-types';
import type { BlobFile } from '../oci/store';
import type { ByteSource } from '../source/byte-source';
import {
  checkDigests,
  decodeSource,
  decodeTo,
  type BlobDigests,
  type DecodeTarget,
  type ReadOptions,
} from './decode';
import type { FrameSection } from './frame-section';
import { openPlainLayer } from './layer-image';
import { layerKind, type LayerKind } from './layer-kind';
import { asByteSource } from './native-byte-source';
import { isSeekableLayer, openSeekable, withSpecTree, type SeekableBlob } from './seekable';
import { sniffLayer } from './sniff';

/** A layer with an EROFS image, whichever way that is stored, open for being read whole. */
export interface WholeLayer {
  kind: Exclude<LayerKind, 'tar'>;
  blob: SeekableBlob;
  /** Writes the data to `target`, or nowhere (null), and checks all that the descriptor vouches for: MISMATCH, CORRUPT. */
  decode: (target: DecodeTarget | null, options: ReadOptions) => Promise<BlobDigests>;
  /** The bytes of `blob.section`, for random access: those of a seekable blob are in frames. */
  data: ByteSource;
  close(): void;
}

/**
 * Opens a layer that is to be read whole. USAGE for a tar, UNVERIFIED for zstd without a table of chunks, unless that is allowed; else as
 * layerKind() and openSeekable().
 */
export async function openWholeLayer(file: BlobFile, options: ReadOptions): Promise<WholeLayer> {
  const kind = await layerKind(file, options);
  if (kind === 'tar') throw isTarLayer(file.name);
  if (kind !== 'seekable') return openWithoutTable(file, kind, options);
  const blob = await unlessUnreadable(openSeekable(file, options));
  if (blob === null) return openWithoutIndex(file, options);
  return readFrom(file, kind, blob);
}

/**
 * Opens a layer of role `device` that is to be read whole: the bytes that it decompresses to, as the suffix of its media type says, whatever
 * they are. Its digests vouch for it where it has no chunk index. CORRUPT when it is not compressed so; else as openSeekable().
 */
export async function openWholeDevice(file: BlobFile, options: ReadOptions): Promise<WholeLayer> {
  const { descriptor, indexLayer } = options;
  if (isSeekableLayer(descriptor, indexLayer)) {
    const blob = await unlessUnreadable(openSeekable(file, options));
    if (blob !== null) return readFrom(file, 'seekable', blob);
  }
  const compression = streamCompression(descriptor?.mediaType ?? '');
  if (compression === 'none') return openWithoutTable(file, 'raw', options);
  const content = await sniffLayer(file, options.signal);
  if (content !== (compression === 'gzip' ? 'tar+gzip' : 'zstd')) {
    const why = `its media type ${descriptor!.mediaType} says ${compression}, but its content is none: it breaks the rule "device-content"`;
    throw failure('CORRUPT', file.name, why);
  }
  return openWithoutTable(file, 'zstd', { ...options, allowUnverified: true });
}

/** What to say of a tar where EROFS is read. */
export function isTarLayer(name: string): Error {
  const hint = 'make it EROFS first: see encode for a layer, convert for an image';
  return failure('USAGE', name, 'it is a tar layer', hint);
}

/** Null instead of an index of a version or a compression that is not known: the draft wants such a layer read without it. */
export async function unlessUnreadable<T>(opening: Promise<T>): Promise<T | null> {
  return opening.catch((error: unknown) => {
    if (error instanceof SeekableErofsError && error.code === 'UNSUPPORTED') return null;
    throw error;
  });
}

/** A layer whose index can't be used: its own digest and its DiffID vouch for what it is read to. */
async function openWithoutIndex(file: BlobFile, options: ReadOptions): Promise<WholeLayer> {
  options.onWarning?.(`${file.name}: its chunk index is of a kind that is not known: it is read without`);
  const kind = (await sniffLayer(file, options.signal)) === 'erofs' ? 'raw' : 'zstd';
  return openWithoutTable(file, kind, { ...options, allowUnverified: true });
}

async function openWithoutTable(
  file: BlobFile,
  kind: 'raw' | 'zstd',
  options: ReadOptions,
): Promise<WholeLayer> {
  const said = readSeekableAnnotations(options.descriptor?.annotations);
  const annotations = said?.profile === 'erofs-image-spec' ? said : null;
  if (kind === 'zstd') return openInflated(file, annotations, options);
  const end = annotations?.indexStart ?? file.size;
  if (end > file.size)
    throw failure('CORRUPT', file.name, `its index is said to be at byte ${end} of ${file.size}`);
  const blob = await withSpecTree(file, plainSection(end), annotations);
  return readFrom(file, kind, blob);
}

/** A layer whose frames, or whose bytes, are read where they lie. */
function readFrom(file: BlobFile, kind: WholeLayer['kind'], blob: SeekableBlob): WholeLayer {
  const decode: WholeLayer['decode'] = (target, options) => decodeTo(file, blob, target, options);
  return { kind, blob, decode, data: file, close: () => undefined };
}

/** The data of a layer that can only be decompressed from its beginning to its end: done once, into a file without a name. */
async function openInflated(
  file: BlobFile,
  annotations: SpecSeekable | null,
  options: ReadOptions,
): Promise<WholeLayer> {
  if (options.allowUnverified !== true) throw noTable(file.name);
  const inflated = await openPlainLayer(file, options);
  const { content, sourceDigest, contentDigest } = inflated;
  const close = (): void => {
    inflated.close();
  };
  try {
    const data = asByteSource(content, file.name);
    const blob = await withSpecTree(data, plainSection(content.size), annotations);
    const digests = { diffId: contentDigest!, blobDigest: sourceDigest! };
    const decode: WholeLayer['decode'] = async (target, chosen) => {
      await decodeSource(content, blob, target, chosen, file.name);
      await checkDigests(file, digests, chosen);
      return digests;
    };
    return { kind: 'zstd', blob, decode, data, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** What to say of EROFS that can only be read from its beginning to its end. */
export function noTable(name: string): Error {
  const what = 'it is EROFS in zstd without a chunk table, as `ctr images convert --erofs zstd` makes it';
  const hint = 'make it seekable: see convert for an image, encode for a layer; or --allow-unverified';
  return failure('UNVERIFIED', name, `${what}: parts of it can be neither read nor verified`, hint);
}

const pieceSize = 4 << 20;

/** Data that lie as they are from byte 0 on, in pieces that nobody has checksums of. */
function plainSection(size: number): FrameSection {
  const starts = Float64Array.from({ length: Math.ceil(size / pieceSize) + 1 }, (_, i) =>
    Math.min(i * pieceSize, size),
  );
  const checksums = new Uint8Array();
  return {
    version: 1,
    offset: size,
    end: size,
    digest: '',
    uncompressedSize: size,
    chunkSize: pieceSize,
    hashAlgorithm: 'none',
    frames: { compression: 'none', offsets: starts, starts, checksums, checksumSize: 0 },
  };
}
