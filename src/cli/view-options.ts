import type { Command } from 'commander';
import { Option } from 'commander';
import type { ListOptions } from '../index';
import {
  addReadOptions,
  collect,
  given,
  parseCount,
  readOptions,
  refuseDescriptorOfImage,
  type ReadFlags,
} from './options';

/** Flags of the commands that read files out of images. */
export interface ViewFlags extends ReadFlags {
  oneLayer?: number;
  platform?: string;
  device?: string[];
}

export function addViewOptions(command: Command): void {
  command
    .option('--one-layer <n>', 'only this layer of an image, 0 is the lowest, with its whiteouts', parseCount)
    .option('--platform <platform>', "os/arch[/variant] of an index (default: this machine's)")
    .addOption(
      new Option('--device <file>', "an external device of a layer's image, repeatable").argParser(collect),
    );
  addReadOptions(command);
}

/** The library's options for these flags. */
export async function viewOptions(subject: string, flags: ViewFlags): Promise<ListOptions> {
  refuseDescriptorOfImage(subject, flags);
  const { oneLayer, platform, device } = flags;
  return { ...(await readOptions(flags)), ...given({ oneLayer, platform, devices: device }) };
}
