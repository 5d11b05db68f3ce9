import { Option, type Command } from 'commander';
import type { ConvertOptions } from '../index';
import {
  addEncodeOptions,
  addPlatformOption,
  addRegistryOptions,
  encodeOptions,
  given,
  parseCount,
  registryOptions,
  type EncodeFlags,
  type RegistryFlags,
} from './options';

/** Flags of the commands that convert images; each is a key of a batch's jobs as well (src/convert/batch-keys.ts). */
export interface ConvertFlags extends EncodeFlags, RegistryFlags {
  platform?: string[];
  allPlatforms?: true;
  appendToIndex?: true;
  osFeatures?: true;
  keepForeign?: true;
  replace?: true;
  cache?: string;
  retryTime?: number;
}

export function addConvertOptions(command: Command): Command {
  addPlatformOption(command, 'os/arch[/variant] to take from an index, repeatable (default: this machine)');
  command.addOption(
    new Option('--all-platforms', 'convert the whole index, and keep it an index').conflicts('platform'),
  );
  command
    .option('--append-to-index', 'keep the image as it is too: an index of it, then of what it became')
    .option('--keep-foreign', 'containerd: carry non-distributable layers over as they are, blob and urls')
    .option('--replace', 'write over an index, also when manifests that it names are lost with it')
    .option(
      '--os-features',
      'say "erofs" in the os.features of an index, which containerd then must be asked for',
    )
    .option('--cache <dir>', 'keep converted layers here, and take those that earlier runs kept')
    .option(
      '--retry-time <seconds>',
      'how long to wait for a registry that is away (default: 60)',
      parseCount,
    );
  addEncodeOptions(command);
  return addRegistryOptions(command);
}

/** The library's options for these flags. A flag that was not given stays absent. */
export async function convertOptions(flags: ConvertFlags): Promise<ConvertOptions> {
  const { platform, allPlatforms, appendToIndex, osFeatures, keepForeign, replace, cache, retryTime } = flags;
  return {
    ...(await encodeOptions(flags)),
    ...registryOptions(flags),
    ...given({
      platforms: platform,
      allPlatforms,
      appendToIndex,
      osFeatures,
      keepForeign,
      replace,
      cache,
      retryTime,
    }),
  };
}
