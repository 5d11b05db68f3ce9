import { ftruncate } from 'node:fs';
import { promisify } from 'node:util';
import { failure } from '../errors';
import { readSeekableAnnotations } from '../format/annotations';
import { checkSameDigest, digestBytes, formatDigest } from '../format/digest';
import { writeAtomically, type AtomicFile } from '../fs/atomic-file';
import { refuseInputAsOutput } from '../fs/same-file';
import type { ResourceOptions } from '../job';
import { native, type DecodedImage, type ExpectedTree } from '../native/binding';
import { runNative } from '../native/run';
import type { BlobFile } from '../oci/store';
import type { Descriptor } from '../oci/types';
import { openFileSource } from '../source/file';
import type { ByteSource } from '../source/byte-source';
import type { LoneIndex } from './chunk-index-section';
import { checkBlobDigest } from './content-digest';
import { materialise, sidecarPath } from './materialise';
import { resourcesOf, type WarningOptions } from './resources';
import { imageSizeOf, openSeekable, type SeekableBlob } from './seekable';
import { sniffLayer } from './sniff';
import type { BlobTree } from './verity-section';

const truncate = promisify(ftruncate);

/** What commands that read one blob take. */
export interface ReadOptions extends ResourceOptions, WarningOptions {
  /** What the blob must be: the JSON that `encode` printed, or any OCI descriptor. */
  descriptor?: (Descriptor & { diffId?: string | undefined }) | undefined;
  /** Of profile "erofs-image-spec": the chunk index where it is the next layer of the image. */
  indexLayer?: LoneIndex | undefined;
  /** Accept a descriptor that has no digest of the chunk table. */
  allowUnverified?: boolean | undefined;
}

/** What was decoded. */
export interface DecodedBlob {
  /** `sha256:…` of all decoded bytes. */
  diffId: string;
  /** Of the file written, in bytes. */
  size: number;
  chunks: number;
  /** Null unless the dm-verity tree was materialised. */
  dmverity: { rootDigest: string; hashOffset: number } | null;
}

/** How a blob is decoded. */
export interface DecodeOptions extends ReadOptions {
  /** Make a device for dm-verity of it: padded image, superblock and tree, and beside it `IMAGE.dmverity`. */
  dmVerity?: boolean | undefined;
  /** Files that are read besides the blob, such as the descriptor's: the image must not take their place either. */
  inputs?: readonly string[] | undefined;
}

/**
 * Decodes a seekable blob to its raw EROFS image, with every check that the descriptor allows; with `dmVerity` to a device that the
 * kernel opens: padded image, superblock and tree, and beside it `IMAGE.dmverity`, which gets its name first. FAILED when the
 * blob has no tree, USAGE when what is written is one of the files that are read. Nothing appears unless everything was right.
 */
export async function decodeBlob(
  blobPath: string,
  imagePath: string,
  options: DecodeOptions = {},
): Promise<DecodedBlob> {
  const file = await openFileSource(blobPath);
  try {
    await checkIsBlob(file, options);
    const blob = await openSeekable(file, options);
    if (options.dmVerity === true && blob.tree === null) {
      throw failure(
        'FAILED',
        blobPath,
        'has no dm-verity tree',
        'encode it with --dm-verity, or leave out --dm-verity',
      );
    }
    const inputs = [file, ...(options.inputs ?? []).map((path) => ({ path }))];
    if (options.dmVerity === true) await refuseInputAsOutput(sidecarPath(imagePath), inputs);
    const write = async (image: AtomicFile): Promise<DecodedBlob> => {
      const { diffId } = await decodeTo(file, blob, image, options);
      const chunks = blob.section.frames.offsets.length - 1;
      if (options.dmVerity === true)
        return { diffId, chunks, ...(await materialise(file, blob.tree!, image, options)) };
      const size = imageSizeOf(blob);
      await truncate(image.fd, size);
      return { diffId, size, chunks, dmverity: null };
    };
    return await writeAtomically(imagePath, write, { inputs });
  } finally {
    await file.close();
  }
}

async function checkIsBlob(file: ByteSource, { descriptor }: ReadOptions): Promise<void> {
  const content = await sniffLayer(file);
  if (content === 'zstd') return;
  // Only a descriptor tells that an image is one with an index behind it.
  if (content === 'erofs' && readSeekableAnnotations(descriptor?.annotations) !== null) return;
  const hints = { erofs: 'it is a raw EROFS image already', unknown: undefined } as const;
  const hint =
    content === 'erofs' || content === 'unknown' ? hints[content] : 'a tar layer: see encode and convert';
  throw failure(content === 'unknown' ? 'CORRUPT' : 'USAGE', file.name, 'is no seekable blob', hint);
}

/** Decodes to `target`, or nowhere (null) just to check. MISMATCH for a wrong digest, DiffID, root or tree. */
export async function decodeTo(
  file: BlobFile,
  blob: SeekableBlob,
  target: { fd: number; name: string } | null,
  options: ReadOptions,
): Promise<{ diffId: string; blobDigest: string }> {
  const { threads, tmpDir } = resourcesOf(options);
  const source = new native.Source(file);
  try {
    const decoded = await runNative(
      options,
      (job) =>
        native.decodeImage(
          source,
          blob.section.frames,
          { target, threads, tmpDir, verity: blob.tree && expectedTree(blob.tree) },
          job,
        ),
      file.name,
    );
    return await checkDigests(file, decoded, options);
  } finally {
    source.close();
  }
}

async function checkDigests(file: BlobFile, decoded: DecodedImage, options: ReadOptions) {
  const diffId = formatDigest('sha256', decoded.diffId);
  const blobDigest = formatDigest('sha256', decoded.blobDigest);
  const { descriptor } = options;
  if (descriptor !== undefined) await checkBlobDigest(file, descriptor, options, blobDigest);
  if (descriptor?.diffId !== undefined) checkSameDigest(`${file.name}: DiffID`, descriptor.diffId, diffId);
  const annotations = readSeekableAnnotations(descriptor?.annotations);
  const said = annotations?.profile === 'erofs-image-spec' ? annotations.uncompressedDigest : null;
  if (said?.startsWith('sha256:') === true) checkSameDigest(`${file.name}: decoded data`, said, diffId);
  return { diffId, blobDigest };
}

function expectedTree({ superblock, rootDigest, dataSize, location, treeOffset }: BlobTree): ExpectedTree {
  const { algorithm, dataBlockSize, hashBlockSize, salt } = superblock;
  return {
    ...{ algorithm, dataBlockSize, hashBlockSize, salt },
    root: digestBytes(rootDigest),
    ...{ dataSize, location, treeOffset },
  };
}
