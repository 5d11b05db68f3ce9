import { uncompressedDigestOf } from '../format/annotations';
import { checkSameDigest, digestBytes, formatDigest } from '../format/digest';
import type { ResourceOptions, WarningOptions } from '../job';
import { native, type ExpectedVerityTree, type NativeSource } from '../native/binding';
import { reading } from '../native/native-error';
import { runNative } from '../native/run';
import type { BlobFile } from '../oci/store';
import type { Descriptor } from '../oci/types';
import type { LoneIndex } from './chunk-index-section';
import { checkBlobDigest } from './content-digest';
import { resourcesOf } from './resources';
import type { SeekableBlob } from './seekable';
import type { BlobTree } from './verity-section';

/** What a layer must be: an OCI descriptor, and the DiffID where that is known. */
export type LayerDescriptor = Pick<Descriptor, 'digest' | 'size' | 'annotations'> & {
  mediaType?: string | undefined;
  diffId?: string | undefined;
};

/** What commands that read one blob take. */
export interface ReadOptions extends ResourceOptions, WarningOptions {
  /** What the blob must be: the JSON that `encode` printed, or any OCI descriptor. */
  descriptor?: LayerDescriptor | undefined;
  /** Of profile "erofs-image-spec": the chunk index where it is the next layer of the image. */
  indexLayer?: LoneIndex | undefined;
  /** Accept a descriptor that has no digest of the chunk table. */
  allowUnverified?: boolean | undefined;
}

/** Decodes to `target`, or nowhere (null) just to check. MISMATCH for a wrong digest, DiffID, root or tree. */
export async function decodeTo(
  file: BlobFile,
  blob: SeekableBlob,
  target: DecodeTarget | null,
  options: ReadOptions,
): Promise<BlobDigests> {
  const source = new native.Source(file);
  try {
    const { diffId, blobDigest } = await decodeSource(source, blob, target, options, file.name);
    // Bytes that are stored as they are, an index behind them included, are their own content.
    const isRaw = blob.section.frames.compression === 'none';
    const digests = { diffId: isRaw ? blobDigest : diffId, blobDigest };
    await checkDigests(file, digests, options);
    return digests;
  } finally {
    source.close();
  }
}

/** Where decoded bytes go, from the first on. */
export interface DecodeTarget {
  fd: number;
  name: string;
  /** Whether it is synced afterwards; default: true. The disk begins with it early then, which takes a while by itself. */
  sync?: boolean | undefined;
}

/** `sha256:…` of a layer's content and of its bytes. */
export interface BlobDigests {
  diffId: string;
  blobDigest: string;
}

/** Decodes with every check but that of the digests, which are those of the decoded and of the stored bytes. `name` is the layer's. */
export async function decodeSource(
  source: NativeSource,
  blob: SeekableBlob,
  target: DecodeTarget | null,
  options: ReadOptions,
  name: string,
): Promise<BlobDigests> {
  const { threads, tmpDir } = resourcesOf(options);
  const verity = blob.tree && expectedTree(blob.tree);
  const to = target && { fd: target.fd, name: target.name, sync: target.sync !== false };
  const settings = { target: to, threads, tmpDir, verity };
  const decoding = runNative(
    options,
    (job) => native.decodeImage(source, blob.section.frames, settings, job),
    name,
  );
  const decoded = await reading(name, decoding);
  return {
    diffId: formatDigest('sha256', decoded.diffId),
    blobDigest: formatDigest('sha256', decoded.blobDigest),
  };
}

/** MISMATCH unless a layer is what its descriptor says: size, digest, DiffID, and the digest of its content. */
export async function checkDigests(
  file: BlobFile,
  { diffId, blobDigest }: BlobDigests,
  options: ReadOptions,
): Promise<void> {
  const { descriptor } = options;
  if (descriptor === undefined) return;
  await checkBlobDigest(file, descriptor, options, blobDigest);
  if (descriptor.diffId !== undefined) checkSameDigest(`${file.name}: DiffID`, descriptor.diffId, diffId);
  const said = uncompressedDigestOf(descriptor);
  if (said !== null) checkSameDigest(`${file.name}: decoded data`, said, diffId);
}

function expectedTree({
  superblock,
  rootDigest,
  dataSize,
  location,
  treeOffset,
}: BlobTree): ExpectedVerityTree {
  const { algorithm, dataBlockSize, hashBlockSize, salt } = superblock;
  return {
    algorithm,
    dataBlockSize,
    hashBlockSize,
    salt,
    root: digestBytes(rootDigest),
    dataSize,
    location,
    treeOffset,
  };
}
