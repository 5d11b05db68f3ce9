import { isDigest } from '../format/digest';
import { layerFormat } from '../format/media-types';
import { checkPlatformMembers } from './descriptor';
import { arrayMember, asObject, corrupt, parseJsonObject, withoutNulls, type JsonObject } from './json';
import { maxLayers } from './manifest';
import type { ImageConfig, Manifest, Platform } from './types';
import { humanCount } from '../quantity';

/** What containerd looks for among a config's os.features before it gives an image to its EROFS snapshotter. */
export const erofsFeature = 'erofs';

/** Docker's record of the machine that built an image; no part of an OCI config, and meaningless in a rewritten image. */
export const dockerBuildMembers = [
  'container',
  'container_config',
  'docker_version',
  'id',
  'parent',
  'throwaway',
] as const;

const maxHistory = 100_000;

/**
 * Parses an image's config (OCI or Docker) from untrusted bytes; unknown members are kept.
 * @throws CORRUPT
 */
export function parseImageConfig(bytes: Uint8Array, what: string): ImageConfig {
  const optional = ['variant', 'os.features', 'history', 'config', 'rootfs'];
  const object = withoutNulls(parseJsonObject(bytes, what), optional);
  checkPlatformMembers(object, what);
  if ('config' in object) asObject(object['config'], `${what}, config`);
  checkHistory(object, what);
  if (!('rootfs' in object)) return object as unknown as ImageConfig;
  return { ...object, rootfs: parseRootfs(object['rootfs'], what) } as ImageConfig;
}

/**
 * Checks that a config belongs to a manifest: it has one DiffID for each layer, or leaves all of them to the descriptors of profile
 * "erofs-image-spec".
 * @throws CORRUPT
 */
export function checkLayerCount(manifest: Manifest, config: ImageConfig, what: string): void {
  const layers = manifest.layers.length;
  const diffIds = config.rootfs?.diff_ids?.length;
  if (diffIds === undefined) {
    if (manifest.layers.some(isOfDraft)) return;
    throw corrupt(what, 'the config has no rootfs.diff_ids');
  }
  if (layers === diffIds) return;
  const why = `the manifest has ${humanCount(layers, 'layer')}, but the config ${humanCount(diffIds, 'diff_id')}`;
  const isOfSpec = manifest.layers.some(isOfDraft);
  throw corrupt(what, isOfSpec ? `${why}: it breaks the rule "diff-ids"` : why);
}

function isOfDraft({ mediaType }: Manifest['layers'][number]): boolean {
  const format = layerFormat(mediaType);
  return format?.kind === 'erofs' && format.profile === 'erofs-image-spec';
}

/** The platform that an image's config says it is for. */
export function configPlatform(config: ImageConfig): Platform {
  const { os, architecture, variant } = config;
  const features = config['os.features'];
  const version = (config as Partial<Platform>)['os.version'];
  return {
    architecture,
    os,
    ...(typeof version === 'string' && { 'os.version': version }),
    ...(features !== undefined && features.length > 0 && { 'os.features': features }),
    ...(variant !== undefined && variant !== '' && { variant }),
  };
}

function parseRootfs(value: unknown, what: string): NonNullable<ImageConfig['rootfs']> {
  const rootfs = asObject(value, `${what}, rootfs`);
  if (rootfs['type'] !== 'layers') throw corrupt(what, 'rootfs.type is not "layers"');
  if (!('diff_ids' in rootfs)) return rootfs as unknown as NonNullable<ImageConfig['rootfs']>;
  const diffIds = arrayMember(rootfs, 'diff_ids', maxLayers, what);
  for (const [i, diffId] of diffIds.entries()) {
    if (typeof diffId !== 'string' || !isDigest(diffId))
      throw corrupt(what, `diff_ids[${i}] is not a digest`);
  }
  return { ...rootfs, diff_ids: diffIds } as NonNullable<ImageConfig['rootfs']>;
}

function checkHistory(config: JsonObject, what: string): void {
  if (!('history' in config)) return;
  for (const entry of arrayMember(config, 'history', maxHistory, what)) {
    const empty = asObject(entry, `${what}, history`)['empty_layer'];
    if (empty !== undefined && typeof empty !== 'boolean')
      throw corrupt(what, 'empty_layer is not true or false');
  }
}
