import { stripLazyAnnotations } from '../format/annotations';
import { digestOf } from '../format/digest';
import { mediaTypes, toOciMediaType } from '../format/media-types';
import { layersOf } from '../image/image-layers';
import { checkLayerCount, dockerBuildMembers } from '../oci/config';
import { withErofs } from '../oci/erofs-platform';
import { serializeJson } from '../format/json';
import { omit } from '../oci/json';
import type { Descriptor, ImageConfig, Index, Manifest, Platform } from '../oci/types';
import { placeHistory, placeLayers, type NewLayer } from './placed-layers';

/** JSON to be stored: the bytes that `descriptor` is of. */
interface Document<T> {
  value: T;
  bytes: Buffer;
  descriptor: Descriptor;
}

export interface RewrittenImage {
  /** Its descriptor carries the platform that an index gave the image, if there was one. */
  manifest: Document<Manifest>;
  config: Document<ImageConfig>;
}

/**
 * The OCI manifest and config of an image whose layers were replaced one for one, lone chunk indexes not counted. The history has
 * an entry for each layer as before, and one for each lone index; annotations and unknown members are kept; Docker media types become OCI ones.
 * @param options.platform of the new image in an index, see indexPlatform(). Without one the descriptor has none either.
 * @throws CORRUPT when there isn't one new layer for each old one, and one DiffID for each in the config.
 */
export function rewriteImage(
  manifest: Manifest,
  config: ImageConfig,
  layers: readonly NewLayer[],
  options: { what: string; platform?: Platform | undefined },
): RewrittenImage {
  checkLayerCount(manifest, config, options.what);
  const old = layersOf({ manifest, config });
  if (layers.length !== old.length) throw new RangeError('one new layer for each old one');
  const placed = placeLayers(layers);
  const history = config.history && placeHistory(config.history, old, layers);
  const newConfig = document(
    rewriteConfig(
      { ...config, ...(history && { history }) },
      placed.map(({ diffId }) => diffId),
    ),
    toOciMediaType(manifest.config.mediaType),
    options.what,
  );
  const newManifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    ...omit(manifest, 'schemaVersion', 'mediaType'),
    ...(manifest.annotations && { annotations: stripLazyAnnotations(manifest.annotations) }),
    config: replaceContent(manifest.config, newConfig.descriptor),
    layers: placed.map(({ descriptor }) => descriptor),
  };
  const { descriptor, ...stored } = document(newManifest, mediaTypes.ociManifest, options.what);
  const { platform } = options;
  return {
    manifest: { ...stored, descriptor: { ...descriptor, ...(platform && { platform }) } },
    config: newConfig,
  };
}

/**
 * An OCI index with `entries` in the place of `index`'s manifests (nested indexes become flat). `image` is what is
 * stored now, `source` the entry that it was made of, whose annotations and unknown members it inherits.
 */
export function rewriteIndex(
  index: Index,
  entries: readonly { source: Descriptor; image: Descriptor }[],
  what: string,
): Document<Index> {
  const value: Index = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    ...omit(index, 'schemaVersion', 'mediaType'),
    manifests: entries.map(({ source, image }) => replaceContent(source, image)),
  };
  return document(value, mediaTypes.ociIndex, what);
}

/** An index as it is stored. */
export function indexDocument(index: Index, what: string): Document<Index> {
  return document(index, mediaTypes.ociIndex, what);
}

function rewriteConfig(config: ImageConfig, diffIds: string[]): ImageConfig {
  return {
    ...omit(config, ...dockerBuildMembers),
    'os.features': withErofs(config['os.features']),
    rootfs: { ...config.rootfs, type: 'layers', diff_ids: diffIds },
  };
}

/** `old` with other content; what describes the old content only is dropped. */
export function replaceContent(old: Descriptor, content: Descriptor): Descriptor {
  const annotations = { ...stripLazyAnnotations(old.annotations ?? {}), ...content.annotations };
  return {
    ...omit(old, 'data', 'urls'),
    ...content,
    ...(Object.keys(annotations).length > 0 && { annotations }),
  };
}

function document<T extends object>(value: T, mediaType: string, what: string): Document<T> {
  const bytes = serializeJson(value, what);
  return { value, bytes, descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length } };
}
