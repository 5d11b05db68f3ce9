import { failure } from '../errors';
import { specAnnotations, uncompressedDigestOf } from '../format/annotations';
import { checkDigestOf, parseDigest } from '../format/digest';
import { layerFormat, streamCompression } from '../format/media-types';
import type { LoneIndex } from '../layer/chunk-index-section';
import type { SourceStore } from '../oci/store';
import type { Descriptor, ImageConfig, Manifest } from '../oci/types';
import {
  brokenRule,
  checkComposition,
  compose,
  isIndexLayer,
  type Composed,
  type Composition,
} from './composition';

/** A descriptor, and the layer's DiffID: of the config, or what the descriptor itself has. */
export interface LayerEntry {
  descriptor: Descriptor;
  diffId: string;
}

/** A layer that has files, and the layer behind it that is its chunk index, if there is one. */
export interface ImageLayer extends LayerEntry {
  index: LayerEntry | null;
}

/** A layer that is mounted. */
export type ComposedLayer = Composed<ImageLayer>;

/** More than this no index has that is meant to be fetched before the layer. */
const maxIndexSize = 1 << 30;

/**
 * The layers of an image, the lowest first, each with its chunk index where that is a layer of its own. CORRUPT and MISMATCH name the rule
 * of composition that is broken.
 */
export function layersOf({ manifest, config }: { manifest: Manifest; config: ImageConfig }): ImageLayer[] {
  checkComposition(manifest.layers);
  const layers: ImageLayer[] = [];
  for (const [i, descriptor] of manifest.layers.entries()) {
    const entry = { descriptor, diffId: diffIdOf(descriptor, config.rootfs?.diff_ids?.[i]) };
    if (isIndexLayer(descriptor)) layers.at(-1)!.index = entry;
    else layers.push({ ...entry, index: null });
  }
  return layers;
}

/** What an image's tree is made of. Errors as layersOf(). */
export function compositionOf(image: { manifest: Manifest; config: ImageConfig }): Composition<ImageLayer> {
  return compose(layersOf(image));
}

/** In profile "erofs-image-spec" the descriptor's word counts more than the config's, which may be missing. */
function diffIdOf(descriptor: Descriptor, configured: string | undefined): string {
  const diffId = ownDiffId(descriptor) ?? configured ?? plainDiffId(descriptor);
  if (diffId !== null) return diffId;
  const why = `neither its annotation ${specAnnotations.uncompressedDigest} nor the config says what it decodes to`;
  throw brokenRule(`layer ${descriptor.digest}`, 'diff-ids', why);
}

function ownDiffId(descriptor: Descriptor): string | null {
  const format = layerFormat(descriptor.mediaType);
  const isOfSpec = format?.kind === 'erofs' && format.profile === 'erofs-image-spec';
  const isDevice = descriptor.annotations?.[specAnnotations.role] === 'device';
  return isOfSpec || isDevice ? uncompressedDigestOf(descriptor) : null;
}

/** The DiffID of bytes that are stored as they are. */
function plainDiffId({ mediaType, digest }: Descriptor): string | null {
  const isPlain = streamCompression(mediaType) === 'none' && parseDigest(digest).algorithm === 'sha256';
  return isPlain ? digest : null;
}

/** Reads a layer's lone index, checked against its descriptor; undefined when it has none. */
export async function readIndexOf(
  store: Pick<SourceStore, 'openBlob'>,
  { index }: ImageLayer,
): Promise<LoneIndex | undefined> {
  if (index === null) return undefined;
  const { digest, size } = index.descriptor;
  const what = `chunk index ${digest}`;
  if (size > maxIndexSize) throw failure('UNSUPPORTED', what, `${size} bytes, more than ${maxIndexSize}`);
  const file = await store.openBlob(index.descriptor);
  try {
    if (file.size !== size)
      throw failure('MISMATCH', what, `${file.size} bytes, but its descriptor says ${size}`);
    const payload = await file.read(0, size);
    checkDigestOf(what, digest, payload);
    return { payload, digest };
  } finally {
    await file.close();
  }
}
