import { failure } from '../errors';
import { isConfigType, isManifestType } from '../format/media-types';
import { checkLayerCount, configPlatform, parseImageConfig } from '../oci/config';
import { flattenIndex, readManifest } from '../oci/manifest';
import { choosePlatform, formatPlatform, hostPlatform, parsePlatform } from '../oci/platform';
import type { SourceStore } from '../oci/store';
import type { Descriptor, ImageConfig, Index, Manifest } from '../oci/types';

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
export async function openImages(
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
  const selected = select(candidates, selection, store.name);
  const images: Image[] = [];
  for (const entry of selected) images.push(await readEntry(store, entry));
  return {
    descriptor,
    index: document.index,
    images,
    others: entries.filter((entry) => !selected.includes(entry)),
  };
}

function select(entries: Descriptor[], selection: PlatformSelection, what: string): Descriptor[] {
  if (selection.allPlatforms === true) return entries;
  const wanted = selection.platforms?.map(parsePlatform) ?? [hostPlatform()];
  return [...new Set(wanted.map((platform) => choosePlatform(entries, platform, what, selection.feature)))];
}

/** Attestations are manifests for a platform "unknown"; other artifacts say what they are. */
function isImageEntry({ mediaType, platform, artifactType }: Descriptor): boolean {
  return isManifestType(mediaType) && artifactType === undefined && platform?.os !== 'unknown';
}

async function readEntry(store: SourceStore, descriptor: Descriptor): Promise<Image> {
  const document = await readManifest(store, descriptor);
  if (document.kind !== 'manifest')
    throw failure('CORRUPT', descriptor.digest, 'is an index, not a manifest');
  return readImage(store, descriptor, document.manifest);
}

async function readImage(store: SourceStore, descriptor: Descriptor, manifest: Manifest): Promise<Image> {
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
