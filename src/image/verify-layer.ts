import { checkSameDigest } from '../format/digest';
import { checkBlobDigest, digestOfFile } from '../layer/content-digest';
import { decodeTo, type ReadOptions } from '../layer/decode';
import { findTableFrame } from '../layer/frame-walk';
import { openLayerContent } from '../layer/layer-image';
import { isSeekableLayer, openSeekable } from '../layer/seekable';
import { sniffLayer } from '../layer/sniff';
import type { BlobFile } from '../oci/store';
import type { ByteSource } from '../source/byte-source';

/** What was found of one layer. */
export interface VerifiedLayer {
  /** Of the blob. */
  digest: string;
  /** zstd frames, of a seekable blob. */
  frames: number;
  /** Those of them whose checksum, length and content were verified. */
  chunksVerified: number;
  diffId: string;
  /** `unvouched`: the tree is right, but no descriptor names its root digest. */
  merkle: 'ok' | 'absent' | 'unvouched';
}

/** Checks one layer whole, against its descriptor if there is one. MISMATCH and CORRUPT say what is wrong. */
export async function verifyLayer(file: BlobFile, options: ReadOptions): Promise<VerifiedLayer> {
  return (await isSeekable(file, options)) ? verifySeekable(file, options) : verifyOther(file, options);
}

/** A descriptor decides by its annotations; a bare file by whether it has a table. */
export async function isSeekable(file: ByteSource, options: ReadOptions): Promise<boolean> {
  const { descriptor, indexLayer, signal } = options;
  if (isSeekableLayer(descriptor, indexLayer)) return true;
  return (
    descriptor === undefined &&
    (await sniffLayer(file)) === 'zstd' &&
    (await findTableFrame(file, signal)) !== null
  );
}

async function verifySeekable(file: BlobFile, options: ReadOptions): Promise<VerifiedLayer> {
  const blob = await openSeekable(file, options);
  const { diffId, blobDigest } = await decodeTo(file, blob, null, options);
  const frames = blob.section.frames.offsets.length - 1;
  const merkle = blob.tree === null ? 'absent' : blob.tree.vouched ? 'ok' : 'unvouched';
  return { digest: options.descriptor?.digest ?? blobDigest, frames, chunksVerified: frames, diffId, merkle };
}

/** A tar or an EROFS image, compressed or not: its digests. */
export async function verifyOther(file: BlobFile, options: ReadOptions): Promise<VerifiedLayer> {
  const { descriptor } = options;
  const content = await openLayerContent(file, options);
  try {
    const digest = content.sourceDigest ?? (await digestOfFile(file, options));
    if (descriptor !== undefined) await checkBlobDigest(file, descriptor, options, digest);
    const diffId = content.contentDigest ?? digest;
    if (descriptor?.diffId !== undefined) checkSameDigest(`${file.name}: DiffID`, descriptor.diffId, diffId);
    return { digest: descriptor?.digest ?? digest, frames: 0, chunksVerified: 0, diffId, merkle: 'absent' };
  } finally {
    content.close();
  }
}
