import { SeekableErofsError } from '../errors';
import { isErofsLayer, isForeignLayer } from '../format/media-types';
import type { ReadOptions } from '../layer/decode';
import { openLocation } from '../layer/location';
import { spool } from '../layer/spool';
import type { LayerKind } from '../layer/layer-kind';
import { namesLayer } from '../oci/reference';
import type { BlobFile, SourceStore } from '../oci/store';
import type { Descriptor } from '../oci/types';
import { openSource } from '../store/open';
import type { RegistryOptions } from '../store/registry/options';
import { notImages, openImageSet, type Image, type PlatformSelection } from './image-set';
import { roleOf } from './composition';
import { compositionOf, layersOf, readIndexOf, type ImageLayer, type LayerEntry } from './image-layers';
import { withImageTree } from './open-view';
import { verifyContent, verifyDevice, verifyLayer, type VerifiedLayer } from './verify-layer';
import { checkSubjects } from './subject';
import { checkOptions } from '../options';

/** One layer's verdict; members that are not known of a bad layer are null. */
export interface LayerVerification extends Omit<VerifiedLayer, 'digest' | 'diffId'> {
  digest: string | null;
  diffId: string | null;
  /** What is wrong, or why it can't be verified; absent of a good layer. */
  error?: string;
}

/** What was verified. */
export interface Verification {
  /** False when anything is corrupt, not what it should be, or can't be verified. */
  ok: boolean;
  layers: LayerVerification[];
  /** What was done, for people; not in the command's JSON. */
  summary: {
    /** Of the blobs that were read. */
    bytes: number;
  };
}

/**
 * Checks everything that can be checked of an image (all platforms, unless some are named) or of a layer in a file or on a web server: every digest and
 * size, each frame's checksum and length, DiffIDs, and the whole Merkle tree. What is wrong with a layer is in the result, and so is that
 * nothing could verify it, unless `allowUnverified` is set; it rejects when something can't be read, and when a manifest or config is wrong.
 */
export async function verifyImage(
  refOrPath: string,
  options: ReadOptions & RegistryOptions & Pick<PlatformSelection, 'platforms'> = {},
): Promise<Verification> {
  checkOptions('verifyImage', options);
  checkSubjects([refOrPath], options);
  const verdicts = namesLayer(refOrPath)
    ? [await verifyAlone(refOrPath, options)]
    : await verifyReference(refOrPath, options);
  const layers = verdicts.map(({ verification }) => verification);
  const bytes = verdicts.reduce((sum, verdict) => sum + verdict.bytes, 0);
  return { ok: layers.every(({ error }) => error === undefined), layers, summary: { bytes } };
}

async function verifyAlone(location: string, options: ReadOptions): Promise<Verdict> {
  const file = await spool(await openLocation(location, options), options);
  const found = await verdictOn(file, options, verifyLayer);
  if (found.kind === 'tar') options.onWarning?.(`${location}: ${tarsOnly}`);
  return found;
}

const tarsOnly = 'it has no seekable layer: of tars, the digests and DiffIDs are verified';

async function verifyReference(
  text: string,
  options: ReadOptions & RegistryOptions & PlatformSelection,
): Promise<Verdict[]> {
  const { platforms } = options;
  const { store, reference } = await openSource(text, options);
  try {
    const set = await openImageSet(store, reference, { platforms, allPlatforms: platforms === undefined });
    const { images } = set;
    const leftOut = notImages(set, options);
    if (leftOut !== null) options.onWarning?.(`${store.name}: ${leftOut}`);
    const all: Verdict[] = [];
    for (const image of images) {
      const verdicts = await verifyLayersOf(store, image, options);
      if (verdicts.every(({ verification }) => verification.error === undefined))
        await verifyTogether(store, image, options);
      all.push(...verdicts);
      const has = (wanted: LayerKind): boolean => verdicts.some(({ kind }) => kind === wanted);
      if (has('tar') && !has('seekable'))
        options.onWarning?.(`${store.name}, ${image.platform}: ${tarsOnly}`);
    }
    return all;
  } finally {
    await store.close();
  }
}

/** What was found of a layer, and what kind it is; null when it can't be told. */
interface Verdict {
  verification: LayerVerification;
  kind: LayerKind | 'index' | null;
  /** The size of its blob; 0 of one that is not here. */
  bytes: number;
}

async function verifyLayersOf(store: SourceStore, image: Image, options: ReadOptions): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  for (const layer of layersOf(image)) {
    verdicts.push(await verifyStored(store, layer, options));
    if (layer.index !== null) verdicts.push(await verifyIndexLayer(store, layer.index, options));
  }
  return verdicts;
}

async function verifyStored(store: SourceStore, layer: ImageLayer, options: ReadOptions): Promise<Verdict> {
  const { descriptor, diffId } = layer;
  const whole = { ...options, descriptor: { ...descriptor, diffId } };
  const file = await openUnlessForeign(store, descriptor, options);
  if (file === null) return notThere(whole);
  return verdictOn(file, whole, async () => {
    const own = { ...whole, indexLayer: await readIndexOf(store, layer) };
    if (roleOf(descriptor) === 'device') return { ...(await verifyDevice(file, own)), kind: null };
    return verifyLayer(file, own);
  });
}

/** Null for a layer that registries don't keep, and that isn't here. */
async function openUnlessForeign(
  store: SourceStore,
  descriptor: Descriptor,
  options: ReadOptions,
): Promise<BlobFile | null> {
  try {
    return await store.openFile(descriptor, options);
  } catch (error) {
    const isMissing = error instanceof SeekableErofsError && error.code === 'NOT_FOUND';
    if (isMissing && isForeignLayer(descriptor.mediaType)) return null;
    throw error;
  }
}

function notThere(options: ReadOptions): Verdict {
  const { descriptor, allowUnverified = false, onWarning } = options;
  const why = `${descriptor!.digest}: a non-distributable layer that is not here: it can not be verified`;
  if (!allowUnverified) return { verification: unverified(options, why), kind: null, bytes: 0 };
  onWarning?.(why);
  return { verification: unverified(options), kind: null, bytes: 0 };
}

/**
 * Checks that layers which were verified one by one fit each other: that images have the devices that they keep data on, and that files find
 * their data in data-only layers. CORRUPT names the rule that is broken.
 */
async function verifyTogether(store: SourceStore, image: Image, options: ReadOptions): Promise<void> {
  const { lowers, data } = compositionOf(image);
  const isErofs = [...lowers, ...data].every(({ descriptor }) => isErofsLayer(descriptor.mediaType));
  if (!isErofs || lowers.length === 0) return;
  const { signal, onWarning } = options;
  // Everything is verified by now, and warned of.
  const known = { ...options, allowUnverified: true, onWarning: onWarning && (() => undefined) };
  await withImageTree({ store, image, name: image.descriptor.digest }, known, async (tree) => {
    if (data.length > 0) await tree.checkData(signal);
  });
}

/** Its entries are verified with the layer that it is for; here its digests are. */
async function verifyIndexLayer(
  store: SourceStore,
  { descriptor, diffId }: LayerEntry,
  options: ReadOptions,
): Promise<Verdict> {
  const whole = { ...options, descriptor: { ...descriptor, diffId } };
  const file = await store.openFile(descriptor, options);
  return verdictOn(file, whole, async () => ({ ...(await verifyContent(file, whole)), kind: 'index' }));
}

/** Data that is wrong, or can't be verified, is a result; that it can't be read is an error. Closes the file. */
async function verdictOn(
  file: BlobFile,
  options: ReadOptions,
  verify: (file: BlobFile, options: ReadOptions) => Promise<VerifiedLayer & Pick<Verdict, 'kind'>>,
): Promise<Verdict> {
  try {
    const { kind, ...verification } = await verify(file, options);
    return { verification, kind, bytes: file.size };
  } catch (error) {
    if (!(error instanceof SeekableErofsError) || error.exitCode !== 3) throw error;
    const { message, hint } = error;
    const text = hint === undefined ? message : `${message} (${hint})`;
    return { verification: unverified(options, text), kind: null, bytes: file.size };
  } finally {
    await file.close();
  }
}

function unverified({ descriptor }: ReadOptions, error?: string): LayerVerification {
  const { digest = null, diffId = null } = descriptor ?? {};
  const nothing = { digest, frames: 0, chunksVerified: 0, diffId, merkle: 'absent' } as const;
  return error === undefined ? nothing : { ...nothing, error };
}
