import { failure } from '../errors';
import { readSeekableAnnotations, uncompressedDigestOf } from '../format/annotations';
import { checkDigestOf } from '../format/digest';
import { layerFormat } from '../format/media-types';
import type { LoneIndex } from '../layer/chunk-index-section';
import type { SourceStore } from '../oci/store';
import type { Descriptor, ImageConfig, Manifest } from '../oci/types';

/** A descriptor, and the layer's DiffID: of the config, or what the descriptor itself has. */
export interface LayerEntry {
  descriptor: Descriptor;
  diffId: string;
}

/** A layer that has files, and the layer behind it that is its chunk index, if there is one. */
export interface ImageLayer extends LayerEntry {
  index: LayerEntry | null;
}

/** More than this no index has that is meant to be fetched before the layer. */
const maxIndexSize = 1 << 30;

/**
 * The layers of an image, the lowest first, each with its chunk index where that is a layer of its own. CORRUPT for an index without a
 * layer before it, MISMATCH for one that says that it is for another layer.
 */
export function layersOf({ manifest, config }: { manifest: Manifest; config: ImageConfig }): ImageLayer[] {
  const layers: ImageLayer[] = [];
  for (const [i, descriptor] of manifest.layers.entries()) {
    const entry = { descriptor, diffId: ownDiffId(descriptor) ?? config.rootfs.diff_ids[i]! };
    if (!isIndexLayer(descriptor)) layers.push({ ...entry, index: null });
    else attachIndex(layers.at(-1), entry);
  }
  return layers;
}

/** In profile "erofs-image-spec" the descriptor's word counts more than the config's. */
function ownDiffId(descriptor: Descriptor): string | null {
  const format = layerFormat(descriptor.mediaType);
  const isOfSpec = format?.kind === 'erofs' && format.profile === 'erofs-image-spec';
  return isOfSpec ? uncompressedDigestOf(descriptor) : null;
}

/** A chunk index that is a layer of its own. */
export function isIndexLayer({ mediaType }: Descriptor): boolean {
  return layerFormat(mediaType)?.kind === 'chunk-index';
}

function attachIndex(layer: ImageLayer | undefined, index: LayerEntry): void {
  const { digest, annotations } = index.descriptor;
  const what = `chunk index ${digest}`;
  if (layer?.index !== null)
    throw failure('CORRUPT', what, 'there is no layer right before it that it could be for');
  const said = readSeekableAnnotations(annotations);
  const target = said?.profile === 'erofs-image-spec' ? said.indexTarget : null;
  if (target !== null && target !== layer.descriptor.digest)
    throw failure(
      'MISMATCH',
      what,
      `it is for ${target}, but the layer before it is ${layer.descriptor.digest}`,
    );
  layer.index = index;
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
