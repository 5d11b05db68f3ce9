import { isDeepStrictEqual } from 'node:util';
import type { Image, ImageSet, PlatformSelection } from '../image/images';
import { configPlatform } from '../oci/config';
import { omit } from '../oci/json';
import type { Descriptor, Index } from '../oci/types';
import { appendToIndex, emptyIndex, type ImagePair } from './append-to-index';
import type { ConvertedImage } from './converted-image';
import { copyManifest } from './copy-manifest';
import type { LayerJob } from './layer';
import { indexDocument, replaceContent, rewriteIndex, withErofsFeature } from './rewrite';

type RootJob = Pick<LayerJob, 'source' | 'destination' | 'options'>;

/**
 * One image stands for itself, without a platform, which its config has: containerd imports it without being asked for "erofs" then. Several,
 * or all of an index, are an index, in which everything that is no image stays as it was.
 */
export async function writeRoot(
  job: RootJob,
  { index, descriptor, images: sources, others }: ImageSet,
  images: readonly ConvertedImage[],
  { allPlatforms = false }: PlatformSelection,
): Promise<Descriptor> {
  if (index === null || (images.length === 1 && !allPlatforms)) {
    return omit(images[0]!.manifest.descriptor, 'platform');
  }
  const entries = images.map(({ manifest }, i) => ({
    source: sources[i]!.descriptor,
    image: manifest.descriptor,
  }));
  if (allPlatforms) {
    for (const other of others) {
      await copyManifest(job, other);
      entries.push({ source: other, image: other });
    }
  }
  const document = rewriteIndex(index, entries, job.source.name);
  if (isDeepStrictEqual(document.value, index)) {
    await copyManifest(job, descriptor);
    return descriptor;
  }
  await writeDocument(job, document);
  return document.descriptor;
}

/**
 * An index of the source's images and, behind each, what was made of it; what `existing`, the destination's index of that name, has else
 * stays in it.
 */
export async function writeAppended(
  job: RootJob,
  set: ImageSet,
  images: readonly ConvertedImage[],
  existing: { descriptor: Descriptor; index: Index } | null,
  { allPlatforms = false }: PlatformSelection,
): Promise<Descriptor> {
  const pairs = images.map((image, i) => pairOf(set, set.images[i]!, image));
  const others = allPlatforms ? set.others : [];
  for (const part of [...pairs.map(({ tar }) => tar), ...others]) await copyManifest(job, part);
  const base = existing?.index ?? { ...(set.index ?? emptyIndex), manifests: [] };
  const appended = appendToIndex(base, pairs);
  const there = new Set(appended.manifests.map(({ digest }) => digest));
  const manifests = [...appended.manifests, ...others.filter(({ digest }) => !there.has(digest))];
  const index = { ...appended, manifests };
  if (existing !== null && isDeepStrictEqual(index, existing.index)) return existing.descriptor;
  const document = indexDocument(index, job.source.name);
  await writeDocument(job, document);
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
  { destination }: RootJob,
  { descriptor, bytes }: { descriptor: Descriptor; bytes: Uint8Array },
): Promise<void> {
  if (!(await destination.has(descriptor))) await destination.writeBlob(descriptor, bytes);
}
