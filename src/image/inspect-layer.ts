import { erofsMediaType, mediaTypes } from '../format/media-types';
import type { Profile } from '../format/profiles';
import { formatUuid } from '../format/verity-superblock';
import type { ReadOptions } from '../layer/decode';
import type { FrameSection } from '../layer/frame-section';
import { layerKind } from '../layer/layer-kind';
import { openBlobIn, type BlobReader } from '../layer/open-blob';
import { isSeekableLayer } from '../layer/seekable';
import { sniffLayer, type ContentKind } from '../layer/sniff';
import type { BlobTree } from '../layer/verity-section';
import type { ByteSource } from '../source/byte-source';
import { unlessUnreadable } from '../layer/whole-layer';
import { sliceSource } from '../source/slice';
import { inspectTree, type MetadataShare, type TreeOptions } from './inspect-tree';
import type { ListedEntry } from './list';
import type { SharedWith } from './sharing';

/** A blob's chunk table, or its chunk index. */
export interface TableInspection {
  /** Where it begins in the blob; of an index that is a layer of its own: the blob's size. */
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

/** What inspectLayer() takes. */
export interface LayerInspectOptions extends ReadOptions, TreeOptions {}

/** What callers of this package may say as well. */
interface DeviceOptions {
  /** The layer has the role `device`: its bytes are no image of their own, even where they could be. */
  isDevice?: boolean | undefined;
}

/** What one layer is made of. */
export interface BlobInspection {
  mediaType: string;
  size: number;
  /** Only when it was asked for. */
  sharedWith?: SharedWith[];
  /** Null when it is no seekable blob; then there are no table and no tree either. */
  profile: Profile | null;
  table: TableInspection | null;
  dmverity: VerityInspection | null;
  /** The directory tree to the depth asked for, as listImage() lists it; null when the layer is no EROFS. */
  tree: ListedEntry[] | null;
  /** Only when it was asked for; null when it can't be told. */
  share?: MetadataShare | null;
}

/** As a whole inspection, but for the tree, which is found while it is gone through: once, and before close(). */
export interface StreamedBlob extends Omit<BlobInspection, 'tree'> {
  tree: AsyncIterable<ListedEntry> | null;
}

/** A layer that is looked at. */
export interface OpenLayerInspection {
  document: StreamedBlob;
  close(): Promise<void>;
}

/**
 * Reads just enough of a layer to say what it is: the table, the superblock, inodes and directories, not the data of files. The file stays its
 * owner's, and open until close().
 */
export async function openLayerInspection(
  file: ByteSource,
  options: LayerInspectOptions & DeviceOptions,
): Promise<OpenLayerInspection> {
  const blob = await openTable(file, options);
  const close = async (): Promise<void> => blob?.close();
  try {
    const { measure = false } = options;
    const nothing = { tree: null, share: null };
    const { tree, share } = options.isDevice === true ? nothing : await inspectTree(blob ?? file, options);
    // The tree comes last: what is printed as it is found must not wait for anything.
    const rest = { ...(measure && { share }), tree };
    return { document: { ...(await describe(file, blob, options)), ...rest }, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function describe(
  file: ByteSource,
  blob: BlobReader | null,
  options: LayerInspectOptions,
): Promise<Omit<BlobInspection, 'tree' | 'share'>> {
  const { size } = file;
  if (blob === null) {
    const mediaType = options.descriptor?.mediaType ?? (await mediaTypeOf(file, options));
    return { mediaType, size, profile: null, table: null, dmverity: null };
  }
  const { profile, section, tree } = blob;
  return {
    mediaType: options.descriptor?.mediaType ?? erofsMediaType(profile, section.frames.compression),
    size,
    profile,
    table: inspectTable(section),
    dmverity: tree && inspectVerity(tree),
  };
}

const mediaTypeOfContent: Record<ContentKind, string> = {
  empty: mediaTypes.ociTar,
  tar: mediaTypes.ociTar,
  'tar+gzip': mediaTypes.ociTarGzip,
  zstd: mediaTypes.ociTarZstd,
  erofs: mediaTypes.containerdErofs,
  unknown: 'application/octet-stream',
};

async function mediaTypeOf(file: ByteSource, options: ReadOptions): Promise<string> {
  const content = await sniffLayer(file);
  const isImage = content === 'zstd' && (await layerKind(file, options)) === 'zstd';
  return isImage ? mediaTypes.containerdErofsZstd : mediaTypeOfContent[content];
}

/** A seekable blob, open; null for what is none, or has a table that can't be read. The file stays its owner's. */
async function openTable(file: ByteSource, options: ReadOptions & DeviceOptions): Promise<BlobReader | null> {
  const { descriptor, indexLayer, isDevice = false } = options;
  if (isDevice && !isSeekableLayer(descriptor, indexLayer)) return null;
  const isOdd = descriptor === undefined && (await sniffLayer(file)) === 'unknown';
  if (isOdd || (!isDevice && (await layerKind(file, options)) !== 'seekable')) return null;
  return unlessUnreadable(openBlobIn(sliceSource(file, 0, file.size), options));
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

function inspectVerity({ offset, rootDigest, superblock }: BlobTree): VerityInspection {
  const { algorithm, dataBlockSize, hashBlockSize, dataBlocks, salt, uuid } = superblock;
  return {
    offset,
    rootDigest,
    hashAlgorithm: algorithm,
    dataBlockSize,
    hashBlockSize,
    dataBlocks,
    salt: Buffer.from(salt).toString('hex'),
    uuid: formatUuid(uuid),
  };
}
