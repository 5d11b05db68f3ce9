import type { Command } from 'commander';
import { Option } from 'commander';
import type { ListOptions } from '../index';
import {
  addReadOptions,
  addRegistryOptions,
  collect,
  given,
  parseCount,
  parseFileName,
  readOptions,
  refuseDescriptorOfImage,
  registryOptions,
  type ReadFlags,
  type RegistryFlags,
} from './options';

/** Flags of the commands that read files out of images. */
export interface ViewFlags extends ReadFlags, RegistryFlags {
  oneLayer?: number;
  platform?: string;
  device?: string[];
  cache?: string;
}

/** `reads`: the command reads the files itself; else the kernel does. */
export function addViewOptions(command: Command, { reads = true } = {}): void {
  if (reads) {
    const description = 'only this layer of an image, 0 is the lowest, with its whiteouts';
    command.option('--one-layer <n>', description, parseCount);
    command.option('--cache <dir>', 'keep what is fetched here, by its checksums (4 GiB)', parseFileName);
  }
  command
    .option('--platform <platform>', "os/arch[/variant] of an index (default: this machine's)")
    .addOption(
      new Option('--device <file>', "an external device of a layer's image, repeatable").argParser(collect),
    );
  addReadOptions(command);
  addRegistryOptions(command);
}

/** The library's options for these flags. */
export async function viewOptions(subject: string, flags: ViewFlags): Promise<ListOptions> {
  refuseDescriptorOfImage(subject, flags);
  const { oneLayer, platform, device, cache } = flags;
  return {
    ...(await readOptions(flags)),
    ...registryOptions(flags),
    ...given({ oneLayer, platform, devices: device, cacheDir: cache }),
  };
}
