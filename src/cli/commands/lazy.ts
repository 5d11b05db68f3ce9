import { Option, type Command } from 'commander';
import type { CachedImageStatus } from '../../index';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import {
  addAccessOptions,
  collect,
  given,
  registryOptions,
  type AccessFlags,
  type CommonFlags,
} from '../options';
import { humanCount, table } from '../text';
import { stateFlag } from './mount';

interface AddFlags extends CommonFlags, AccessFlags {
  state?: string;
  layersFrom?: string;
  platform?: string;
  mirror?: string[];
  allowUnverified?: true;
}

/** `lazy add`, `lazy rm` and `lazy ls`. */
export function lazyCommand(session: Session): Command {
  const command = defineCommand('lazy', 'Say which images serve --erofs-cache shows', [
    'lazy add docker://registry.example/app:erofs',
    'lazy ls',
    'lazy rm docker://registry.example/app:erofs',
  ]);
  command.addCommand(addCommand(session));
  command.addCommand(removeCommand(session));
  command.addCommand(listCommand(session));
  return command;
}

function addCommand(session: Session): Command {
  const command = defineCommand('add <REF>', 'Show the layers of an image', [
    'lazy add docker://registry.example/app:erofs',
    'lazy add docker://registry.example/app:v1 --layers-from docker://registry.example/app:erofs',
  ]);
  command
    .option('--layers-from <ref>', 'an EROFS image made of it: its layers stand in the place of the tars')
    .option('--platform <os/arch>', "of an index (default: this machine's)")
    .addOption(
      new Option('--mirror <host>', 'a registry that has the same blobs, repeatable').argParser(collect),
    )
    .option('--allow-unverified', 'take layers that nobody vouches for')
    .option(...stateFlag);
  addAccessOptions(command);
  return finishCommand(command, session, async ({ options, elapsed }, [reference]) => {
    const flags = command.opts<AddFlags>();
    const { state, layersFrom, platform, mirror, allowUnverified } = flags;
    const { addLazyImage } = await library();
    const document = await addLazyImage(reference!, {
      ...given({ state, layersFrom, platform, mirrors: mirror, allowUnverified }),
      ...registryOptions(flags),
      signal: options.signal,
    });
    const text = `shows ${humanCount(document.layers.length, 'layer')} of ${document.reference} in ${elapsed().toFixed(1)} s`;
    return { document, text: [], summary: [text] };
  });
}

function removeCommand(session: Session): Command {
  const command = defineCommand('rm <REF>', 'Show an image no more; refused while its layers are mounted', [
    'lazy rm docker://registry.example/app:erofs',
  ]);
  command.option(...stateFlag);
  return finishCommand(command, session, async (_, [reference]) => {
    const { removeLazyImage } = await library();
    await removeLazyImage(reference!, given({ state: command.opts<{ state?: string }>().state }));
    return { document: { reference }, text: [], summary: [`removed ${reference!}`] };
  });
}

function listCommand(session: Session): Command {
  const command = defineCommand('ls', 'List the images, and how much of each layer is here', [
    'lazy ls --json',
  ]);
  command.option(...stateFlag);
  return finishCommand(command, session, async () => {
    const { listLazyImages } = await library();
    const document = await listLazyImages(given({ state: command.opts<{ state?: string }>().state }));
    return { document, text: table(document.flatMap(rowsOf)) };
  });
}

function rowsOf({ reference, digest, layers }: CachedImageStatus): string[][] {
  return [
    [reference, digest, ''],
    ...layers.map(({ diffId, chunks, present }) => [
      '',
      diffId,
      `${present} of ${humanCount(chunks, 'chunk')}`,
    ]),
  ];
}
