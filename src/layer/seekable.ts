import { failure } from '../errors';
import { readSeekableAnnotations, type SeekableAnnotations } from '../format/annotations';
import type { Profile } from '../format/profiles';
import type { Descriptor } from '../oci/types';
import type { ByteSource } from '../source/byte-source';
import { readChunkIndexSection } from './chunk-index-section';
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

/** What vouches for a blob, and whether that is asked for. */
export interface TrustOptions extends WarningOptions {
  /** Undefined: a bare blob, which nothing vouches for. */
  descriptor?: Pick<Descriptor, 'digest' | 'size' | 'annotations'> | undefined;
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
  const section = await readChunkIndexSection(blob, annotations, options.signal);
  const tree = annotations.verity && (await readSpecTree(blob, section, annotations.verity));
  return { profile: 'erofs-image-spec', section, tree };
}

function checkSize(blob: ByteSource, { descriptor }: TrustOptions): void {
  if (descriptor === undefined || descriptor.size === blob.size) return;
  throw failure('MISMATCH', blob.name, `${blob.size} bytes, but its descriptor says ${descriptor.size}`);
}

/** What the descriptor says; for a bare blob, where a walk over its frames finds the table. */
async function annotationsOf(blob: ByteSource, options: TrustOptions): Promise<SeekableAnnotations> {
  const { descriptor, allowUnverified = false, onWarning, signal } = options;
  const annotations = readSeekableAnnotations(descriptor?.annotations);
  if (annotations !== null) {
    const digest = annotations.profile === 'containerd' ? annotations.tableDigest : annotations.indexDigest;
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

function nothingVouches(name: string): Error {
  const hint = 'give a descriptor that has the digest, or --allow-unverified';
  return failure('UNVERIFIED', name, "its descriptor has no digest of the blob's chunk table", hint);
}
