import { optionsOf } from '../../options';
import { InvalidArgumentError, type Command } from 'commander';
import { defineCommand, finishCommand, type Session } from '../command';
import { describeInspection } from '../inspect-text';
import { library } from '../library';
import {
  addPlatformOption,
  addReadOptions,
  addRegistryOptions,
  flagOf,
  given,
  parseCount,
  readOptions,
  refuseDescriptorOfImage,
  registryOptions,
  type CommonFlags,
  type ReadFlags,
  type RegistryFlags,
} from '../options';

interface Flags extends CommonFlags, ReadFlags, RegistryFlags {
  platform?: string[];
  chunks: number;
  depth: number;
  sharedWith?: string[];
}

export function inspectCommand(session: Session): Command {
  const command = defineCommand('inspect <REF|PATH>', 'Show what an image or a layer is made of', [
    'inspect oci:app:latest',
    'inspect layer.blob --descriptor descriptor.json --chunks all',
    'inspect oci-archive:app.tar --json',
  ]);
  command
    .option('--chunks <n|all>', 'entries of each chunk table to print', parseChunks, 10)
    .option('--depth <n>', 'levels of the directory tree, the root is 0', parseCount, 3);
  command.addOption(
    flagOf(optionsOf.inspect.sharedWith, 'say how much of it this image has, too; repeatable', 'ref'),
  );
  addPlatformOption(command, 'only this os/arch[/variant] of an index, repeatable (default: all)');
  addReadOptions(command);
  addRegistryOptions(command);
  return finishCommand(command, session, async ({ options }, [subject]) => {
    const flags = command.opts<Flags>();
    refuseDescriptorOfImage(subject!, flags);
    const { openInspection } = await library();
    const opened = await openInspection(subject!, {
      ...options,
      ...(await readOptions(flags)),
      ...registryOptions(flags),
      ...given({ platforms: flags.platform, depth: flags.depth, sharedWith: flags.sharedWith }),
      // The document has no place for it, and it takes time.
      measure: flags.json !== true,
    });
    const { document } = opened;
    const text = describeInspection(document, flags.chunks);
    return { document, text, close: () => opened.close() };
  });
}

/** `all`, or how many. Exported for its test. */
export function parseChunks(text: string): number {
  if (text === 'all') return Infinity;
  try {
    return parseCount(text);
  } catch {
    throw new InvalidArgumentError('Give a number or "all".');
  }
}
