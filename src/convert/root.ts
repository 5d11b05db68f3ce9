import { isDeepStrictEqual } from 'node:util';
import type { Image, ImageSet } from '../image/image-set';
import { configPlatform } from '../oci/config';
import { emptyIndex, readManifest } from '../oci/manifest';
import { omit } from '../oci/json';
import type { Descriptor, Index } from '../oci/types';
import { appendToIndex } from './append-to-index';
import { isLone } from './companions';
import type { ConvertedImage } from './converted-image';
import { copyForeignBlob, type CopyOptions } from './foreign-layer';
import { withErofsFeature, type ImagePair } from '../oci/erofs-platform';
import { indexDocument, replaceContent, rewriteIndex } from './rewrite';
import type { StoreRun } from './run';
import { isForeignLayer, isIndexType, isManifestType } from '../format/media-types';
import type { SourceStore } from '../oci/store';
import { copyBlobFrom } from './copy-blob';

/**
 * One image stands for itself, without a platform, which its config has: containerd imports it without being asked for "erofs" then. Several,
 * or all of an index, are an index, with `companions` in it as they were.
 */
export async function writeRoot(
  run: StoreRun,
  set: ImageSet,
  images: readonly ConvertedImage[],
  companions: readonly Descriptor[],
  options: CopyOptions,
): Promise<Descriptor> {
  const { index, descriptor, images: sources } = set;
  if (index === null || isLone(set, run.asked)) return omit(images[0]!.manifest.descriptor, 'platform');
  const entries = images.map(({ manifest }, i) => ({
    source: sources[i]!.descriptor,
    image: manifest.descriptor,
  }));
  for (const other of companions) {
    await copyManifest(run, other, options);
    entries.push({ source: other, image: other });
  }
  const document = rewriteIndex(index, entries, run.source.name);
  if (isDeepStrictEqual(document.value, index)) {
    await copyManifest(run, descriptor, options);
    return descriptor;
  }
  await writeDocument(run, document);
  return document.descriptor;
}

/**
 * An index of the source's images and, behind each, what was made of it, with `companions`; what `existing`, the destination's index of that
 * name, has else stays in it.
 */
export async function writeAppended(
  run: StoreRun,
  set: ImageSet,
  images: readonly ConvertedImage[],
  companions: readonly Descriptor[],
  existing: { descriptor: Descriptor; index: Index } | null,
  options: CopyOptions,
): Promise<Descriptor> {
  const pairs = images.map((image, i) => pairOf(set, set.images[i]!, image));
  for (const part of [...pairs.map(({ tar }) => tar), ...companions]) await copyManifest(run, part, options);
  const base = existing?.index ?? { ...(set.index ?? emptyIndex()), manifests: [] };
  const appended = appendToIndex(base, pairs);
  const there = new Set(appended.manifests.map(({ digest }) => digest));
  const manifests = [...appended.manifests, ...companions.filter(({ digest }) => !there.has(digest))];
  const index = { ...appended, manifests };
  if (existing !== null && isDeepStrictEqual(index, existing.index)) return existing.descriptor;
  const document = indexDocument(index, run.source.name);
  await writeDocument(run, document);
  return document.descriptor;
}

/** An image that comes alone has its platform in its config, and annotations that are about its name. */
function pairOf({ index }: ImageSet, source: Image, converted: ConvertedImage): ImagePair {
  const platform = source.descriptor.platform ?? configPlatform(source.config);
  const tar = index === null ? { ...omit(source.descriptor, 'annotations'), platform } : source.descriptor;
  const erofs = { ...converted.manifest.descriptor, platform: withErofsFeature(platform) };
  return { tar: { ...tar, platform }, erofs: replaceContent(tar, erofs) };
}

async function writeDocument(
  { destination }: StoreRun,
  { descriptor, bytes }: { descriptor: Descriptor; bytes: Uint8Array },
): Promise<void> {
  if (!(await destination.has(descriptor))) await destination.writeBlob(descriptor, bytes);
}

/** Copies what is no image (an attestation, an artifact) as it is, with everything that it refers to. */
async function copyManifest(
  { source, destination }: Pick<StoreRun, 'source' | 'destination'>,
  descriptor: Descriptor,
  options: CopyOptions,
): Promise<void> {
  const parts = await partsOf(source, descriptor);
  for (const part of [...parts, descriptor]) {
    if (isForeignLayer(part.mediaType)) await copyForeignBlob({ source, destination }, part, options);
    else await copyBlobFrom(source, destination, part, options);
  }
}

async function partsOf(source: SourceStore, descriptor: Descriptor): Promise<Descriptor[]> {
  if (!isManifestType(descriptor.mediaType) || isIndexType(descriptor.mediaType)) return [];
  const document = await readManifest(source, descriptor);
  if (document.kind !== 'manifest') return [];
  return [document.manifest.config, ...document.manifest.layers];
}
