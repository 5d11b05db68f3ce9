import { failure } from '../errors';
import type { Reference } from '../oci/reference';
import { optionsOf } from '../options';
import { isInRegistry, refuseRegistryOptions, registryOptionNames } from '../oci/registry-options';
import type { ConvertOptions } from './convert-options';

type OptionName = keyof typeof optionsOf.convertImage & keyof ConvertOptions;

/** A layer content cache has the images of layers … */
const ofManifests = ['appendToIndex', 'osFeatures', 'keepForeign', 'replace', 'check', 'deviceTar'] as const;
/** … with trees in the one form that containerd takes … */
const ofTrees = ['dmVerityHash', 'dmVerityBlockSize'] as const;
/** … and not in frames, of which some are fetched first. */
const ofFrames = ['chunkSize', 'level', 'index', 'noCompress', 'chunking', 'cache', 'order'] as const;

/** Options that can do nothing in a conversion from one place to another. USAGE. */
export function refuseNoEffect(
  destination: string,
  from: Reference,
  to: Reference,
  options: ConvertOptions,
): void {
  if (to.transport === 'erofs-cache') {
    refuse(destination, ofManifests, options, 'a cache has layers, no manifests');
    refuse(destination, ofTrees, options, 'containerd takes trees of SHA-256 and 4096 bytes, and no others');
    refuse(destination, ofFrames, options, 'a cache has images that are ready to be mounted, no blobs');
  }
  refuseRegistryOptions(destination, [from, to], options);
}

/** What is left of options that were given for many conversions, and not for this one: those which can do something in it. */
export function withoutNoEffect(from: Reference, to: Reference, options: ConvertOptions): ConvertOptions {
  const isSpoken = isInRegistry(from) || isInRegistry(to);
  const useless = [
    ...(isSpoken ? [] : registryOptionNames),
    ...(to.transport === 'erofs-cache' ? [...ofFrames, ...ofTrees] : []),
  ];
  return Object.fromEntries(
    Object.entries(options).filter(([name]) => !(useless as string[]).includes(name)),
  );
}

function refuse(what: string, names: readonly OptionName[], options: ConvertOptions, why: string): void {
  const name = names.find((known) => options[known] !== undefined && options[known] !== false);
  if (name === undefined) return;
  const rule = optionsOf.convertImage[name];
  throw failure('USAGE', what, why, `leave out --${'flag' in rule ? rule.flag : name}`);
}
