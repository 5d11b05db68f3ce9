import { failure } from '../errors';
import type { Descriptor, Platform } from './types';

/** Names that Go, and so every index, uses for Node's `process.arch`. */
const hostArchitectures: Record<string, Omit<Platform, 'os'>> = {
  x64: { architecture: 'amd64' },
  arm64: { architecture: 'arm64', variant: 'v8' },
  arm: { architecture: 'arm', variant: 'v7' },
  ia32: { architecture: '386' },
  ppc64: { architecture: 'ppc64le' },
  mipsel: { architecture: 'mipsle' },
};

/** Other names of an architecture, with the variant that they imply. */
const aliases: Record<string, [architecture: string, variant?: string]> = {
  i386: ['386'],
  x86_64: ['amd64'],
  'x86-64': ['amd64'],
  aarch64: ['arm64'],
  armhf: ['arm', 'v7'],
  armel: ['arm', 'v6'],
};

/** What a missing variant means; such a variant is the same as none. */
const defaultVariants: Record<string, string> = { amd64: 'v1', arm64: 'v8', arm: 'v7' };

/**
 * Parses `os/arch[/variant]`.
 * @throws USAGE
 */
export function parsePlatform(text: string): Platform {
  const [os, architecture, variant, ...rest] = text.split('/');
  const parts = [os, architecture, ...(variant === undefined ? [] : [variant])];
  if (rest.length > 0 || !parts.every((part) => /^[A-Za-z0-9_.-]+$/.test(part ?? ''))) {
    throw failure(
      'USAGE',
      `platform ${text}`,
      'not of the form os/arch[/variant]',
      'linux/arm64/v8, for example',
    );
  }
  return { os: os!, architecture: architecture!, ...(variant !== undefined && { variant }) };
}

/** `os/arch[/variant]`. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined || variant === '' ? [] : [variant])].join('/');
}

/** The platform whose images this machine runs. */
export function hostPlatform(arch: string = process.arch): Platform {
  return { os: 'linux', ...(hostArchitectures[arch] ?? { architecture: arch }) };
}

/** Spells a platform one way, as containerd does: lower case, no aliases, the variant always there where it has a default. */
export function normalizePlatform(platform: Platform): Platform {
  const written = platform.architecture.toLowerCase();
  const [architecture, implied] = Object.hasOwn(aliases, written) ? aliases[written]! : [written];
  const fallback = Object.hasOwn(defaultVariants, architecture) ? defaultVariants[architecture] : undefined;
  const named = (platform.variant ?? '').toLowerCase().replace(/^(?=\d)/, 'v');
  const variant = named === '' ? (implied ?? fallback) : named;
  return {
    ...platform,
    os: platform.os.toLowerCase(),
    architecture,
    ...(variant !== undefined && { variant }),
  };
}

/**
 * How well an image for `offered` serves `wanted`: 0 not at all, higher is better. A machine runs images for lower
 * variants of its architecture too (arm/v6 on arm/v7, amd64 on amd64/v3).
 */
function platformRank(offered: Platform, wanted: Platform): number {
  const have = normalizePlatform(offered);
  const want = normalizePlatform(wanted);
  if (have.os !== want.os || have.architecture !== want.architecture) return 0;
  if ((have.variant ?? '') === (want.variant ?? '')) return Infinity;
  const haveNumber = variantNumber(have.variant);
  return haveNumber < variantNumber(want.variant) ? haveNumber : 0;
}

/** Whether an image for `offered` runs where `wanted` is asked for. */
export function platformMatches(offered: Platform, wanted: Platform): boolean {
  return platformRank(offered, wanted) > 0;
}

/**
 * The best of an index's descriptors for `wanted`; of equally good ones the first that has `feature` in its os.features,
 * else the first. One without a platform serves none.
 * @throws NOT_FOUND, listing the platforms that there are.
 */
export function choosePlatform(
  descriptors: readonly Descriptor[],
  wanted: Platform,
  what: string,
  feature?: string,
): Descriptor {
  const ranked = descriptors.map((descriptor) => ({ descriptor, rank: descriptorRank(descriptor, wanted) }));
  const best = Math.max(0, ...ranked.map(({ rank }) => rank));
  const candidates = ranked.filter(({ rank }) => rank === best).map(({ descriptor }) => descriptor);
  if (best > 0) return candidates.find((candidate) => hasFeature(candidate, feature)) ?? candidates[0]!;
  throw notFound(descriptors, wanted, what);
}

function descriptorRank({ platform }: Descriptor, wanted: Platform): number {
  return platform === undefined ? 0 : platformRank(platform, wanted);
}

function hasFeature({ platform }: Descriptor, feature: string | undefined): boolean {
  return feature !== undefined && platform?.['os.features']?.includes(feature) === true;
}

/** `v8.2` is 8.2; what is no number is below all. */
function variantNumber(variant: string | undefined): number {
  return Number(/^v(\d{1,3}(\.\d{1,3})?)$/.exec(variant ?? '')?.[1] ?? 0);
}

function notFound(descriptors: readonly Descriptor[], wanted: Platform, what: string): Error {
  const shown = 20;
  const names = descriptors.flatMap(({ platform }) =>
    platform === undefined ? [] : [formatPlatform(platform)],
  );
  // Attestations are listed in an index under this platform.
  const there = [...new Set(names)].filter((name) => name !== 'unknown/unknown');
  const list = there.slice(0, shown).join(', ') + (there.length > shown ? ', …' : '');
  return failure(
    'NOT_FOUND',
    what,
    `no image for ${formatPlatform(wanted)}`,
    there.length > 0 ? `there is ${list}` : 'it names no platforms',
  );
}
