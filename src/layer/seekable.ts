import { failure } from '../errors';
import { readSeekableAnnotations, type SeekableAnnotations, type SpecSeekable } from '../format/annotations';
import type { Profile } from '../format/profiles';
import type { Descriptor } from '../oci/types';
import type { ByteSource } from '../source/byte-source';
import { readChunkIndexSection, readLoneIndex, type LoneIndex } from './chunk-index-section';
import { readChunkTableSection } from './chunk-table-section';
import type { FrameSection } from './frame-section';
import { findTableFrame } from './frame-walk';
import type { WarningOptions } from './resources';
import { findUnvouchedTree, readContainerdTree, readSpecTree, type BlobTree } from './verity-section';

/** Everything that can be known of a seekable blob before a frame of it is decoded. */
export interface SeekableBlob {
  profile: Profile;
  section: FrameSection;
  tree: BlobTree | null;
}

/** Bytes of the EROFS image in a blob: the dm-verity tree of profile "erofs-image-spec" is no part of it. */
export function imageSizeOf({ section, tree }: Pick<SeekableBlob, 'section' | 'tree'>): number {
  return tree?.dataSize ?? section.uncompressedSize;
}

/** What vouches for a blob, and whether that is asked for. */
export interface TrustOptions extends WarningOptions {
  /** Undefined: a bare blob, which nothing vouches for. */
  descriptor?: Pick<Descriptor, 'digest' | 'size' | 'annotations'> | undefined;
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
    return { profile: 'containerd', section, tree };
  }
  const { indexLayer, signal } = options;
  const section =
    indexLayer !== undefined && annotations.indexStart === null
      ? await readLoneIndex(blob, indexLayer, signal)
      : await readChunkIndexSection(blob, annotations, signal);
  const tree = annotations.verity && (await readSpecTree(blob, section, annotations.verity));
  return { profile: 'erofs-image-spec', section, tree };
}

/**
 * Whether a layer is read by a table of chunks: its descriptor decides. Profile "erofs-image-spec" has layers without any index; such a
 * layer is an image like another, unless its tree could not be found then.
 */
export function isSeekableLayer(
  descriptor: Pick<Descriptor, 'annotations'> | undefined,
  indexLayer?: unknown,
): boolean {
  const annotations = readSeekableAnnotations(descriptor?.annotations);
  if (annotations?.profile !== 'erofs-image-spec') return annotations !== null;
  const { indexStart, verity } = annotations;
  return indexStart !== null || indexLayer != null || verity !== null;
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
  const annotations = readSeekableAnnotations(descriptor?.annotations);
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
  return {
    profile: 'erofs-image-spec',
    indexStart: found.offset,
    indexEnd,
    indexDigest: null,
    indexMediaType: '',
    indexTarget: null,
    uncompressedDigest: null,
    verity: null,
    role: null,
  };
}

/** What vouches for the index that will be read. */
function indexDigest({ indexStart, indexDigest }: SpecSeekable, layer: LoneIndex | undefined): string | null {
  return indexStart === null && layer !== undefined ? layer.digest : indexDigest;
}

function nothingVouches(name: string): Error {
  const hint = 'give a descriptor that has the digest, or --allow-unverified';
  return failure('UNVERIFIED', name, "its descriptor has no digest of the blob's chunk table", hint);
}
