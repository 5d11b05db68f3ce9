import { failure } from '../errors';
import { isConfigType, isImageLayer, isManifestType } from '../format/media-types';
import { checkLayerCount, configPlatform, parseImageConfig } from '../oci/config';
import { flattenIndex, readManifest } from '../oci/manifest';
import {
  choosePlatform,
  formatPlatform,
  hostPlatform,
  parsePlatform,
  platformMatches,
} from '../oci/platform';
import type { SourceStore } from '../oci/store';
import type { Descriptor, ImageConfig, Index, Manifest, Platform } from '../oci/types';
import { humanCount } from '../quantity';

/** One image: a manifest, its config, and how an index named it. */
export interface Image {
  descriptor: Descriptor;
  manifest: Manifest;
  config: ImageConfig;
  /** `os/arch[/variant]`. */
  platform: string;
}

/** What a reference names. */
export interface ImageSet {
  descriptor: Descriptor;
  /** Null when it is a single manifest. */
  index: Index | null;
  images: Image[];
  /** Entries of the index that are no images (attestations, other artifacts), or were not selected. */
  others: Descriptor[];
}

/** Which images of an index: those for these platforms, or all; default: this machine's. */
export interface PlatformSelection {
  platforms?: readonly string[] | undefined;
  allPlatforms?: boolean | undefined;
  /** Of images for one platform, the first that has this among its os.features is taken, if one has. */
  feature?: string | undefined;
}

/** Resolves a reference and reads manifests and configs, each checked against its digest. NOT_FOUND lists the platforms that there are. */
export async function openImageSet(
  store: SourceStore,
  reference: string | undefined,
  selection: PlatformSelection,
): Promise<ImageSet> {
  const descriptor = await store.resolve(reference);
  const document = await readManifest(store, descriptor);
  if (document.kind === 'manifest') {
    const image = await readImage(store, descriptor, document.manifest);
    checkAskedFor(image, selection, descriptor);
    return { descriptor, index: null, images: [image], others: [] };
  }
  const entries = await flattenIndex(store, document.index, descriptor.digest);
  const candidates = entries.filter(isImageEntry);
  const images =
    selection.allPlatforms === true
      ? await readImages(store, candidates)
      : await select(store, candidates, selection);
  if (images.length === 0) throw failure('NOT_FOUND', store.name, 'there is no container image in its index');
  const selected = new Set(images.map((image) => image.descriptor));
  return {
    descriptor,
    index: document.index,
    images,
    others: entries.filter((entry) => !selected.has(entry)),
  };
}

/**
 * The images for the platforms asked for. Of entries without a platform the config says it, as to containerd, and it is read only when no
 * other entry serves; when there is but one image, and no platform was named, it is taken for what it is.
 */
async function select(
  store: SourceStore,
  candidates: Descriptor[],
  { platforms, feature }: PlatformSelection,
): Promise<Image[]> {
  const wanted = platforms?.map(parsePlatform) ?? [hostPlatform()];
  const named = candidates.filter(({ platform }) => platform !== undefined);
  const isNamed = (asked: Platform): boolean =>
    named.some(({ platform }) => platform !== undefined && platformMatches(platform, asked));
  const unnamed = wanted.every(isNamed)
    ? []
    : await readImages(
        store,
        candidates.filter(({ platform }) => platform === undefined),
      );
  if (platforms === undefined && named.length === 0 && unnamed.length === 1) return unnamed;
  const readBefore = new Map<Descriptor, Image>(
    unnamed.map((image) => [{ ...image.descriptor, platform: configPlatform(image.config) }, image]),
  );
  const offered = [...named, ...readBefore.keys()];
  const chosen = new Set(wanted.map((platform) => choosePlatform(offered, platform, store.name, feature)));
  const images: Image[] = [];
  for (const entry of chosen) images.push(readBefore.get(entry) ?? (await readEntry(store, entry)));
  return images;
}

/** What to say of an index that was looked at whole, when there is more in it than images; null when there is not. */
export function notImages({ others }: ImageSet, { platforms }: PlatformSelection): string | null {
  if (platforms !== undefined || others.length === 0) return null;
  const entries = humanCount(
    others.length,
    'entry of its index is no image',
    'entries of its index are no images',
  );
  return `${entries} (attestations, charts, signatures …), and not looked at`;
}

/** Attestations are manifests for a platform "unknown"; other artifacts say what they are. */
function isImageEntry({ mediaType, platform, artifactType }: Descriptor): boolean {
  return isManifestType(mediaType) && artifactType === undefined && platform?.os !== 'unknown';
}

/** The images among entries: many artifacts (charts, signatures, wasm) can be told by their manifests only. */
async function readImages(store: SourceStore, entries: readonly Descriptor[]): Promise<Image[]> {
  const images: Image[] = [];
  for (const entry of entries) {
    const manifest = await readEntryManifest(store, entry);
    if (isImageManifest(manifest)) images.push(await readImage(store, entry, manifest));
  }
  return images;
}

/** Signatures of cosign have the config of an image, but not its layers. */
function isImageManifest({ config, layers, artifactType }: Manifest): boolean {
  if (!isConfigType(config.mediaType) || artifactType !== undefined) return false;
  return layers.length === 0 || layers.some(({ mediaType }) => isImageLayer(mediaType));
}

/** The image of an entry of an index, checked against its descriptor. */
export async function readEntry(
  store: Pick<SourceStore, 'readJson'>,
  descriptor: Descriptor,
): Promise<Image> {
  return readImage(store, descriptor, await readEntryManifest(store, descriptor));
}

async function readEntryManifest(
  store: Pick<SourceStore, 'readJson'>,
  descriptor: Descriptor,
): Promise<Manifest> {
  const document = await readManifest(store, descriptor);
  if (document.kind === 'manifest') return document.manifest;
  throw failure('CORRUPT', descriptor.digest, 'is an index, not a manifest');
}

async function readImage(
  store: Pick<SourceStore, 'readJson'>,
  descriptor: Descriptor,
  manifest: Manifest,
): Promise<Image> {
  if (!isConfigType(manifest.config.mediaType)) {
    const why = `its config is ${manifest.config.mediaType}: an artifact, not a container image`;
    throw failure('UNSUPPORTED', descriptor.digest, why);
  }
  const config = parseImageConfig(await store.readJson(manifest.config), manifest.config.digest);
  checkLayerCount(manifest, config, descriptor.digest);
  return {
    descriptor,
    manifest,
    config,
    platform: formatPlatform(descriptor.platform ?? configPlatform(config)),
  };
}

/** A single manifest is taken for what it is, unless platforms were named. */
function checkAskedFor(
  { config }: Image,
  { platforms = [] }: PlatformSelection,
  descriptor: Descriptor,
): void {
  const offered = { ...descriptor, platform: configPlatform(config) };
  for (const platform of platforms) choosePlatform([offered], parsePlatform(platform), descriptor.digest);
}
