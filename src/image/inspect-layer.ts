import { erofsMediaType, mediaTypes } from '../format/media-types';
import type { Profile } from '../format/profiles';
import { formatUuid } from '../format/verity-superblock';
import type { ReadOptions } from '../layer/decode';
import type { FrameSection } from '../layer/frame-section';
import { openSeekable } from '../layer/seekable';
import { sniffLayer, type LayerContent } from '../layer/sniff';
import type { BlobTree } from '../layer/verity-section';
import type { ByteSource } from '../source/byte-source';
import type { BlobFile } from '../oci/store';
import { isSeekable } from './verify-layer';

/** A blob's chunk table, or its chunk index. */
export interface TableInspection {
  /** Where it begins in the blob. */
  offset: number;
  version: number;
  uncompressedSize: number;
  /** Null when chunks differ in size (profile "erofs-image-spec" allows that). */
  chunkSize: number | null;
  hashAlgorithm: 'none' | 'sha256' | 'sha512';
  /** `sha512:…` of its payload. */
  digest: string;
  /** Offset and size of each frame in the blob, and its checksum (`sha512:…`), null when there is none. */
  entries: { offset: number; size: number; checksum: string | null }[];
}

/** A blob's dm-verity superblock. */
export interface VerityInspection {
  /** Profile "containerd": of the skippable frame's header in the blob; else where the tree section begins uncompressed. */
  offset: number;
  /** Of the descriptor; computed from the blob's own tree when nobody gave one. */
  rootDigest: string;
  hashAlgorithm: 'sha256' | 'sha512';
  dataBlockSize: number;
  hashBlockSize: number;
  dataBlocks: number;
  /** Hex; empty if there is none. */
  salt: string;
  uuid: string;
}

/** What one layer is made of. */
export interface BlobInspection {
  mediaType: string;
  size: number;
  /** Null when it is no seekable blob; then there are no table and no tree either. */
  profile: Profile | null;
  table: TableInspection | null;
  dmverity: VerityInspection | null;
  /** The directory tree; null when the layer is no EROFS, and in this version. */
  tree: null;
}

/** Reads just enough of a layer to say what it is: the table, the superblock, not the data. */
export async function inspectLayer(file: BlobFile, options: ReadOptions): Promise<BlobInspection> {
  const mediaType = options.descriptor?.mediaType;
  if (!(await isSeekable(file, options))) {
    const type = mediaType ?? (await mediaTypeOf(file));
    return { mediaType: type, size: file.size, profile: null, table: null, dmverity: null, tree: null };
  }
  const { profile, section, tree } = await openSeekable(file, options);
  return {
    mediaType: mediaType ?? erofsMediaType(profile, section.frames.compression),
    size: file.size,
    profile,
    table: inspectTable(section),
    dmverity: tree && inspectTree(tree),
    tree: null,
  };
}

const mediaTypeOfContent: Record<LayerContent, string> = {
  empty: mediaTypes.ociTar,
  tar: mediaTypes.ociTar,
  'tar+gzip': mediaTypes.ociTarGzip,
  zstd: mediaTypes.ociTarZstd,
  erofs: mediaTypes.containerdErofs,
  unknown: 'application/octet-stream',
};

async function mediaTypeOf(file: ByteSource): Promise<string> {
  return mediaTypeOfContent[await sniffLayer(file)];
}

function inspectTable(section: FrameSection): TableInspection {
  const { offset, version, uncompressedSize, chunkSize, hashAlgorithm, digest, frames } = section;
  const { offsets, checksums, checksumSize } = frames;
  const entries = Array.from(offsets.subarray(0, -1), (start, i) => {
    const checksum = Buffer.from(checksums.subarray(i * checksumSize, (i + 1) * checksumSize));
    const size = offsets[i + 1]! - start;
    return {
      offset: start,
      size,
      checksum: checksumSize === 0 ? null : `${hashAlgorithm}:${checksum.toString('hex')}`,
    };
  });
  return { offset, version, uncompressedSize, chunkSize, hashAlgorithm, digest, entries };
}

function inspectTree({ offset, rootDigest, superblock }: BlobTree): VerityInspection {
  const { algorithm, dataBlockSize, hashBlockSize, dataBlocks, salt, uuid } = superblock;
  return {
    ...{ offset, rootDigest, hashAlgorithm: algorithm, dataBlockSize, hashBlockSize, dataBlocks },
    salt: Buffer.from(salt).toString('hex'),
    uuid: formatUuid(uuid),
  };
}
