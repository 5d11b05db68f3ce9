import type { Command } from 'commander';
import type { ConvertOptions } from '../index';
import {
  addEncodeOptions,
  addPlatformOption,
  addRegistryOptions,
  encodeOptions,
  flagOf,
  given,
  registryOptions,
  type EncodeFlags,
  type RegistryFlags,
} from './options';
import { optionsOf } from '../options';

const rules = optionsOf.convertImage;

/** Flags of the commands that convert images; each is a key of a batch's jobs as well (src/convert/batch/keys.ts). */
export interface ConvertFlags extends EncodeFlags, RegistryFlags {
  platform?: string[];
  allPlatforms?: true;
  appendToIndex?: true;
  osFeatures?: true;
  keepForeign?: true;
  order?: string;
  deviceTar?: true;
  replace?: true;
  cache?: string;
  check?: true;
  retryTime?: number;
}

export function addConvertOptions(command: Command): Command {
  command.optionsGroup('What is converted, and kept:');
  addPlatformOption(command, 'os/arch[/variant] to take from an index, repeatable (default: this machine)');
  const flags = [
    flagOf(rules.allPlatforms, 'convert the whole index, and keep it an index').conflicts('platform'),
    flagOf(rules.appendToIndex, 'keep the image as it is too: an index of it, then of what it became'),
    flagOf(rules.keepForeign, 'containerd: carry non-distributable layers over as they are, blob and urls'),
    flagOf(
      rules.order,
      'put first what this trace names, or with "auto" the one that is attached to the source',
      'file',
    ),
    flagOf(
      rules.deviceTar,
      'erofs-image-spec: keep tars, each as the data of a small EROFS layer; compressed ones become tar+zstd with an index',
    ),
    flagOf(rules.replace, 'write over an index, also when manifests that it names are lost with it'),
    flagOf(
      rules.osFeatures,
      'say "erofs" in the os.features of an index, which containerd then must be asked for',
    ),
    flagOf(rules.cache, 'keep converted layers here, and take those that earlier runs kept', 'dir'),
    flagOf(rules.check, 'compare image and source, every entry and byte, before the image is named'),
    flagOf(rules.retryTime, 'how long to wait for a registry that is away (default: 60)', 'seconds'),
  ];
  for (const flag of flags) command.addOption(flag);
  addEncodeOptions(command);
  return addRegistryOptions(command);
}

/** The library's options for these flags. A flag that was not given stays absent. */
export async function convertOptions(flags: ConvertFlags): Promise<ConvertOptions> {
  const { platform, allPlatforms, appendToIndex, osFeatures, keepForeign, order, replace } = flags;
  const { deviceTar, cache, check, retryTime } = flags;
  return {
    ...(await encodeOptions(flags)),
    ...registryOptions(flags),
    ...given({
      platforms: platform,
      allPlatforms,
      appendToIndex,
      osFeatures,
      keepForeign,
      order,
      deviceTar,
      replace,
      cache,
      check,
      retryTime,
    }),
  };
}
