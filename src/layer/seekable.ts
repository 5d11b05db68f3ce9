import type { WarningOptions } from '../job';
import { failure } from '../errors';
import { readSeekableAnnotations, type SeekableAnnotations, type SpecSeekable } from '../format/annotations';
import { layerFormat, mediaTypes, streamCompression } from '../format/media-types';
import type { Profile } from '../format/profiles';
import type { Descriptor } from '../oci/types';
import type { ByteSource } from '../source/byte-source';
import { readChunkIndexSection, readLoneIndex, type LoneIndex } from './chunk-index-section';
import { readChunkTableSection } from './chunk-table-section';
import type { FrameSection } from './frame-section';
import { findTableFrame } from './frame-walk';
import { findUnvouchedTree, readContainerdTree, readSpecTree, type BlobTree } from './verity-section';

/** Everything that can be known of a seekable blob before a frame of it is decoded. */
export interface SeekableBlob {
  profile: Profile;
  section: FrameSection;
  tree: BlobTree | null;
  /** Bytes of the EROFS image: the dm-verity tree of profile "erofs-image-spec" is no part of it. */
  imageSize: number;
  /** The descriptor has a root digest, but what is where the tree should be has no superblock. */
  lacksSuperblock: boolean;
}

/** What vouches for a blob, and whether that is asked for. */
export interface TrustOptions extends WarningOptions {
  /** Undefined: a bare blob, which nothing vouches for. */
  descriptor?:
    (Pick<Descriptor, 'digest' | 'size' | 'annotations'> & { mediaType?: string | undefined }) | undefined;
  /** Of profile "erofs-image-spec": the index where it is the next layer of the image. One in the blob is preferred. */
  indexLayer?: LoneIndex | undefined;
  /** Accept a descriptor that has no digest of the table. */
  allowUnverified?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Reads the table and the dm-verity superblock of a blob, each checked against what the descriptor says of it before it is parsed.
 * MISMATCH or CORRUPT says which part is wrong; UNVERIFIED when the descriptor has no digest of the table.
 */
export async function openSeekable(blob: ByteSource, options: TrustOptions): Promise<SeekableBlob> {
  checkSize(blob, options);
  const annotations = await annotationsOf(blob, options);
  if (annotations.profile === 'containerd') {
    const section = await readChunkTableSection(blob, annotations, options.signal);
    const tree =
      annotations.verity === null
        ? await findUnvouchedTree(blob, section)
        : await readContainerdTree(blob, section, annotations.verity);
    const imageSize = section.uncompressedSize;
    return { profile: 'containerd', section, tree, imageSize, lacksSuperblock: false };
  }
  const { descriptor, indexLayer, signal } = options;
  const section =
    indexLayer !== undefined && !hasOwnIndex(annotations)
      ? await readLoneIndex(blob, indexLayer, signal)
      : await readChunkIndexSection(blob, ownIndex(annotations), signal);
  const { mediaType = '' } = descriptor ?? {};
  // Devices may be of any media type; else one that is not of the draft says nothing.
  if (annotations.role === 'device' || layerFormat(mediaType)?.kind === 'erofs')
    checkCompression(section, mediaType, blob.name);
  return withSpecTree(blob, section, annotations);
}

/** Data of profile "erofs-image-spec" in which a tree is looked for where the descriptor says. */
export async function withSpecTree(
  source: ByteSource,
  section: FrameSection,
  annotations: Pick<SpecSeekable, 'verity'> | null,
): Promise<SeekableBlob> {
  const verity = annotations?.verity ?? null;
  const tree = verity && (await readSpecTree(source, section, verity));
  const imageSize = verity?.hashOffset ?? section.uncompressedSize;
  const lacksSuperblock = verity !== null && tree === null;
  return { profile: 'erofs-image-spec', section, tree, imageSize, lacksSuperblock };
}

/**
 * Refuses an index whose chunks are stored in another way than the media type says. Readers that follow the index would see other bytes than
 * readers that follow the media type.
 */
function checkCompression({ frames }: FrameSection, mediaType: string, name: string): void {
  if (streamCompression(mediaType) === frames.compression) return;
  const why = `it says that chunks are ${frames.compression === 'zstd' ? 'zstd frames' : 'uncompressed'}`;
  throw failure('CORRUPT', `${name}: chunk index`, `${why}, but the media type is ${mediaType}`);
}

/**
 * Whether a layer is read by a table of chunks: its descriptor decides. Profile "erofs-image-spec" has layers without any index, and may
 * have indexes of another media type: such a layer is read as if there were none.
 */
export function isSeekableLayer(
  descriptor: Pick<Descriptor, 'annotations'> | undefined,
  indexLayer?: unknown,
): boolean {
  const annotations = readSeekableAnnotations(descriptor?.annotations);
  if (annotations?.profile !== 'erofs-image-spec') return annotations !== null || indexLayer != null;
  return hasOwnIndex(annotations) || indexLayer != null;
}

/** An index of another media type must not be parsed. */
function ownIndex(annotations: SpecSeekable): SpecSeekable {
  return hasOwnIndex(annotations) ? annotations : { ...annotations, indexStart: null };
}

function hasOwnIndex({ indexStart, indexMediaType }: SpecSeekable): boolean {
  return indexStart !== null && indexMediaType === mediaTypes.chunkIndex;
}

/** Whether chunks of this size were asked for. A chunk index names none: it only tells where chunks begin, be it a single one. */
export function isCutInto({ profile, section }: SeekableBlob, size: number): boolean {
  if (profile === 'containerd') return section.chunkSize === size;
  const { uncompressedSize, frames } = section;
  const { starts } = frames;
  const asAsked = starts.every((start, i) => start === Math.min(i * size, uncompressedSize));
  return asAsked && starts.length - 1 === Math.ceil(uncompressedSize / size);
}

function checkSize(blob: ByteSource, { descriptor }: TrustOptions): void {
  if (descriptor === undefined || descriptor.size === blob.size) return;
  throw failure('MISMATCH', blob.name, `${blob.size} bytes, but its descriptor says ${descriptor.size}`);
}

/** What the descriptor says; for a bare blob, where a walk over its frames finds the table. */
async function annotationsOf(blob: ByteSource, options: TrustOptions): Promise<SeekableAnnotations> {
  const { descriptor, indexLayer, allowUnverified = false, onWarning, signal } = options;
  const said = readSeekableAnnotations(descriptor?.annotations);
  // An index in a layer of its own needs no annotation.
  const annotations = said ?? (indexLayer === undefined ? null : nothingSaid);
  if (annotations !== null) {
    const digest =
      annotations.profile === 'containerd' ? annotations.tableDigest : indexDigest(annotations, indexLayer);
    if (digest === null && !allowUnverified) throw nothingVouches(blob.name);
    return annotations;
  }
  if (descriptor !== undefined && !allowUnverified) throw nothingVouches(blob.name);
  onWarning?.(`${blob.name}: no descriptor vouches for this blob; its own table is taken as it is`);
  const found = await findTableFrame(blob, signal);
  if (found === null) throw failure('CORRUPT', blob.name, 'has no chunk table', 'is it a seekable blob?');
  if (found.profile === 'containerd') {
    return { profile: 'containerd', tableOffset: found.offset, tableDigest: null, verity: null };
  }
  const indexEnd = found.offset + found.payloadSize + 8;
  return { ...nothingSaid, indexStart: found.offset, indexEnd };
}

const nothingSaid: SpecSeekable = {
  profile: 'erofs-image-spec',
  indexStart: null,
  indexEnd: null,
  indexDigest: null,
  indexMediaType: mediaTypes.chunkIndex,
  indexTarget: null,
  uncompressedDigest: null,
  verity: null,
  role: null,
};

/** What vouches for the index that will be read. */
function indexDigest(annotations: SpecSeekable, layer: LoneIndex | undefined): string | null {
  return !hasOwnIndex(annotations) && layer !== undefined ? layer.digest : annotations.indexDigest;
}

function nothingVouches(name: string): Error {
  const hint = 'give a descriptor that has the digest, or --allow-unverified';
  return failure('UNVERIFIED', name, "its descriptor has no digest of the blob's chunk table", hint);
}
