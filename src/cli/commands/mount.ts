import { Option, type Command } from 'commander';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import {
  addPlatformOption,
  addReadOptions,
  addRegistryOptions,
  collect,
  given,
  parseFileName,
  refuseStream,
  readOptions,
  refuseDescriptorOfImage,
  registryOptions,
  type CommonFlags,
  type ReadFlags,
  type RegistryFlags,
} from '../options';
import { addLazyOptions, lazyOptions, type LazyFlags } from '../lazy-options';
import { humanCount, table } from '../text';

interface Flags extends CommonFlags, ReadFlags, RegistryFlags, LazyFlags {
  verity?: 'auto' | 'require' | 'off';
  rw?: string;
  state?: string;
  checkAtMostOnce?: true;
  verityOptions?: string;
  platform?: string[];
  device?: string[];
}

/** The folder that `mount`, `umount` and `mounts` share. */
export const stateFlag = [
  '--state <dir>',
  'folder for what is mounted (default: /run/seekable-erofs, decoded layers in /var/lib/seekable-erofs)',
  parseFileName,
] as const;

export function mountCommand(session: Session): Command {
  const command = defineCommand('mount <REF|PATH> <DIR>', 'Mount an image or a layer by the kernel', [
    'mount oci:app:latest /mnt',
    'mount oci:app:latest /mnt --verity require',
    'mount layer.blob /mnt --descriptor descriptor.json --rw changes',
  ]);
  addMountOptions(command);
  return finishCommand(command, session, async ({ options, elapsed }, [subject, dir]) => {
    const flags = command.opts<Flags>();
    refuseDescriptorOfImage(subject!, flags);
    refuseStream(dir!);
    const { mountImage } = await library();
    const { verity, rw, state, checkAtMostOnce, verityOptions, device } = flags;
    const document = await mountImage(subject!, dir!, {
      ...options,
      ...(await readOptions(flags)),
      ...registryOptions(flags),
      ...given({ verity, rw, state, checkAtMostOnce, verityOptions }),
      ...given({ platform: flags.platform?.at(-1), devices: device }),
      ...lazyOptions(flags),
    });
    const rows = document.layers.map(({ diffId, device, verity }) => [diffId, device, `verity: ${verity}`]);
    const done = `mounted ${humanCount(rows.length, 'layer')} in ${elapsed().toFixed(1)} s`;
    return { document, text: [document.target], summary: [...table(rows), done] };
  });
}

function addMountOptions(command: Command): void {
  command
    .addOption(
      new Option(
        '--verity <policy>',
        'blocks of layers with a dm-verity tree are checked by the kernel (default: auto, if it can)',
      ).choices(['auto', 'require', 'off']),
    )
    .option(
      '--rw <dir>',
      'make it writable: changes go to DIR/upper and stay there; DIR/work is needed too',
      parseFileName,
    )
    .option(...stateFlag)
    .option('--check-at-most-once', 'let dm-verity check each block of data once only')
    .option('--verity-options <words>', 'more optional arguments of the dm-verity target')
    .addOption(
      new Option('--device <file>', "an external device of a layer's image, repeatable").argParser(collect),
    );
  addLazyOptions(command);
  addPlatformOption(command, "os/arch[/variant] of an index (default: this machine's)");
  addReadOptions(command);
  addRegistryOptions(command);
}
