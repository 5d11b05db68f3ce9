import { erofsFeature } from './config';
import { omit } from './json';
import { normalizePlatform } from './platform';
import type { Descriptor, Platform } from './types';

/** Whether a platform is one of EROFS images. */
export function hasErofsFeature(platform: Platform | undefined): boolean {
  return platform?.['os.features']?.includes(erofsFeature) === true;
}

/** `platform` with "erofs" among its os.features. */
export function withErofsFeature(platform: Platform): Platform {
  return { ...platform, 'os.features': withErofs(platform['os.features']) };
}

/** `platform` without "erofs" among its os.features: containerd takes such an image out of an index without being told to. */
export function withoutErofsFeature(platform: Platform): Platform {
  const features = (platform['os.features'] ?? []).filter((feature) => feature !== erofsFeature);
  const others = omit(platform, 'os.features');
  return features.length > 0 ? { ...others, 'os.features': features } : others;
}

/** `os.features` with "erofs". */
export function withErofs(features: readonly string[] | undefined): string[] {
  return [...new Set([...(features ?? []), erofsFeature])];
}

/** Equal for platforms of one machine, be it for images of tars or of EROFS. */
export function machineOf(platform: Platform): string {
  const { os, architecture, variant, ...more } = normalizePlatform(withoutErofsFeature(platform));
  const features = more['os.features']?.toSorted() ?? [];
  return JSON.stringify([os, architecture, variant, more['os.version'] ?? '', features]);
}

/** An image of tars, and the EROFS image that stands beside it in an index, both with their platforms. */
export interface ImagePair {
  tar: Descriptor;
  erofs: Descriptor;
}

/** The pairs that an index has for a machine each, as `convert --append-to-index` makes them. Pure. */
export function pairsOf(entries: readonly Descriptor[]): ImagePair[] {
  const named = entries.filter(({ platform }) => platform !== undefined);
  const beside = new Map<string, Descriptor>();
  for (const entry of named.toReversed())
    if (hasErofsFeature(entry.platform)) beside.set(machineOf(entry.platform!), entry);
  return named.flatMap((tar) => {
    const erofs = hasErofsFeature(tar.platform) ? undefined : beside.get(machineOf(tar.platform!));
    return erofs === undefined ? [] : [{ tar, erofs }];
  });
}
