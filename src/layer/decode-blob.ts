import { ftruncate } from 'node:fs';
import { promisify } from 'node:util';
import { failure } from '../errors';
import { readSeekableAnnotations } from '../format/annotations';
import { checkFileName } from '../fs/file-name';
import { writeOutput, type OutputFile } from '../fs/output-file';
import { refuseInputAsOutput } from '../fs/same-file';
import type { BlobFile } from '../oci/store';
import type { ByteSource } from '../source/byte-source';
import { openInputFile } from '../source/input-file';
import type { ReadOptions } from './decode';
import { materialise, sidecarPath } from './materialise';
import type { SeekableBlob } from './seekable';
import { sniffLayer } from './sniff';
import { openWholeLayer, type WholeLayer } from './whole-layer';
import { checkOptions } from '../options';

const truncate = promisify(ftruncate);

/** How a blob is decoded. */
export interface DecodeOptions extends ReadOptions {
  /** Make a device for dm-verity of it: padded image, superblock and tree, and beside it `IMAGE.dmverity`. */
  dmVerity?: boolean | undefined;
  /** Files that are read besides the blob, such as the descriptor's: the image must not take their place either. */
  inputs?: readonly string[] | undefined;
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

/**
 * Decodes a seekable blob to its raw EROFS image, with every check that the descriptor allows; with `dmVerity` to a device that the
 * kernel opens: padded image, superblock and tree, and beside it `IMAGE.dmverity`, which gets its name first. FAILED when the
 * blob has no tree, USAGE when what is written is one of the files that are read. Nothing appears unless everything was right.
 * Both may be `-`, standard input and output, but not with `dmVerity`.
 */
export async function decodeBlob(
  blobPath: string,
  imagePath: string,
  options: DecodeOptions = {},
): Promise<DecodedBlob> {
  checkOptions('decodeBlob', options);
  const file = await openInputFile(blobPath, options);
  try {
    await checkIsBlob(file, options);
    const layer = await openWholeLayer(file, options);
    try {
      checkTree(blobPath, layer.blob, options);
      const inputs = [file, ...(options.inputs ?? []).map((path) => ({ path }))];
      if (options.dmVerity === true) {
        checkFileName(imagePath); // its sidecar is written beside it
        await refuseInputAsOutput(sidecarPath(imagePath), inputs);
      }
      const write = (image: OutputFile) => decodeLayer(file, layer, image, options);
      return await writeOutput(imagePath, write, { ...options, inputs });
    } finally {
      layer.close();
    }
  } finally {
    await file.close();
  }
}

async function decodeLayer(
  file: BlobFile,
  { kind, blob, decode }: WholeLayer,
  image: OutputFile,
  options: DecodeOptions,
): Promise<DecodedBlob> {
  const { diffId } = await decode(image, options);
  const chunks = kind === 'seekable' ? blob.section.frames.offsets.length - 1 : 0;
  if (options.dmVerity === true)
    return { diffId, chunks, ...(await materialise(file, blob.tree!, image, options)) };
  const size = blob.imageSize;
  await truncate(image.fd, size);
  return { diffId, size, chunks, dmverity: null };
}

/** Without a superblock nothing tells a tree's salt: the bytes are data like others, unless the tree is asked for. */
function checkTree(name: string, { tree, lacksSuperblock }: SeekableBlob, options: DecodeOptions): void {
  const { dmVerity = false, onWarning } = options;
  const fault = 'where its dm-verity tree should begin there is no superblock';
  if (lacksSuperblock && dmVerity)
    throw failure('CORRUPT', name, `${fault}, so nothing tells its salt`, 'leave out --dm-verity');
  if (lacksSuperblock) onWarning?.(`${name}: ${fault}: it is not checked`);
  if (dmVerity && tree === null) {
    const hint = 'encode it with --dm-verity, or leave out --dm-verity';
    throw failure('FAILED', name, 'has no dm-verity tree', hint);
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
