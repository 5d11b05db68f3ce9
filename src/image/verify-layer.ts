import { failure } from '../errors';
import { checkDigests, type ReadOptions } from '../layer/decode';
import { digestOfFile } from '../layer/content-digest';
import { openPlainLayer } from '../layer/layer-image';
import { layerKind, type LayerKind } from '../layer/layer-kind';
import { openWholeDevice, openWholeLayer, type WholeLayer } from '../layer/whole-layer';
import type { BlobFile } from '../oci/store';

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

/**
 * Checks one layer whole, against its descriptor if there is one: a tar by its digests, EROFS by all that is annotated as well. MISMATCH and
 * CORRUPT say what is wrong, UNVERIFIED what can't be verified.
 */
export async function verifyLayer(
  file: BlobFile,
  options: ReadOptions,
): Promise<VerifiedLayer & { kind: LayerKind }> {
  const kind = await layerKind(file, options);
  if (kind === 'tar') return { ...(await verifyContent(file, options)), kind };
  const layer = await openWholeLayer(file, options);
  try {
    return { ...(await verifyWhole(layer, options)), kind };
  } finally {
    layer.close();
  }
}

/** Checks a layer of role `device` whole, whatever its bytes are. Errors as verifyLayer(). */
export async function verifyDevice(file: BlobFile, options: ReadOptions): Promise<VerifiedLayer> {
  const layer = await openWholeDevice(file, options);
  try {
    return await verifyWhole(layer, options);
  } finally {
    layer.close();
  }
}

async function verifyWhole({ kind, blob, decode }: WholeLayer, options: ReadOptions): Promise<VerifiedLayer> {
  const { descriptor, allowUnverified = false } = options;
  const { diffId, blobDigest } = await decode(null, options);
  if (blob.lacksSuperblock && !allowUnverified) {
    const why = 'its dm-verity tree has no superblock, so nothing tells its salt: it can not be verified';
    throw failure('UNVERIFIED', descriptor!.digest, why, 'convert it anew, or --allow-unverified');
  }
  const frames = kind === 'seekable' ? blob.section.frames.offsets.length - 1 : 0;
  const digest = descriptor?.digest ?? blobDigest;
  return { digest, frames, chunksVerified: frames, diffId, merkle: stateOf(blob) };
}

function stateOf({ tree }: WholeLayer['blob']): VerifiedLayer['merkle'] {
  if (tree === null) return 'absent';
  return tree.vouched ? 'ok' : 'unvouched';
}

/** A layer of any kind, compressed or not: its digests. */
export async function verifyContent(file: BlobFile, options: ReadOptions): Promise<VerifiedLayer> {
  const { descriptor } = options;
  const content = await openPlainLayer(file, options);
  try {
    const blobDigest = content.sourceDigest ?? (await digestOfFile(file, options));
    const diffId = content.contentDigest ?? blobDigest;
    await checkDigests(file, { diffId, blobDigest }, options);
    const digest = descriptor?.digest ?? blobDigest;
    return { digest, frames: 0, chunksVerified: 0, diffId, merkle: 'absent' };
  } finally {
    content.close();
  }
}
