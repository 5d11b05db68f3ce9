import { isDeepStrictEqual } from 'node:util';
import { dockerBuildMembers, erofsFeature } from '../../oci/config';
import { omit } from '../../oci/json';
import type { Descriptor, ImageConfig } from '../../oci/types';
import { isIndexLayer, roleOf } from '../composition';
import type { Image } from '../image-set';

/** A member of an image's config that is not what it was. */
export interface ConfigDifference {
  /** Of `config` (`Cmd`, `Env`), or of the document itself (`architecture`). */
  field: string;
  /** By the source, and in what was converted; null where it is missing. */
  expected: unknown;
  actual: unknown;
}

type Members = Readonly<Record<string, unknown>>;

type ConfiguredImage = Pick<Image, 'manifest' | 'config'>;

/**
 * What a conversion changed of how an image runs, and of all else that its config says: but not of what it changes on purpose, which is
 * DiffIDs, the feature "erofs", the history of lone chunk indexes and devices, and Docker's record of the machine that built the image.
 */
export function compareConfigs(source: ConfiguredImage, converted: ConfiguredImage): ConfigDifference[] {
  return [
    ...compareMembers(source.config.config ?? {}, converted.config.config ?? {}),
    ...compareMembers(meaningOf(source), meaningOf(converted)),
  ];
}

function compareMembers(expected: Members, actual: Members): ConfigDifference[] {
  const fields = [...new Set([...Object.keys(expected), ...Object.keys(actual)])].sort();
  return fields
    .filter((field) => !isDeepStrictEqual(expected[field] ?? null, actual[field] ?? null))
    .map((field) => ({ field, expected: expected[field] ?? null, actual: actual[field] ?? null }));
}

function meaningOf(image: ConfiguredImage): Members {
  const { 'os.features': features = [], ...others } = image.config;
  const otherFeatures = features.filter((feature) => feature !== erofsFeature);
  const history = historyOf(image);
  return {
    ...omit(others, 'rootfs', 'config', 'history', ...dockerBuildMembers),
    ...(otherFeatures.length > 0 && { 'os.features': otherFeatures }),
    ...(history.length > 0 && { history }),
  };
}

/** The history without the entries of chunk indexes and devices, which come and go with the way that these are stored. */
function historyOf({ manifest, config }: ConfiguredImage): NonNullable<ImageConfig['history']> {
  const { history = [] } = config;
  const { layers } = manifest;
  // A history that has not an entry for each layer says nothing of them.
  if (history.filter(isFilled).length !== layers.length) return history;
  let at = 0;
  const isPart = (layer: Descriptor): boolean => isIndexLayer(layer) || roleOf(layer) === 'device';
  return history.filter((entry) => !isFilled(entry) || !isPart(layers[at++]!));
}

function isFilled(entry: { empty_layer?: boolean }): boolean {
  return entry.empty_layer !== true;
}
