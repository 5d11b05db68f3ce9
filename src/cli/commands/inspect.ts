import { optionsOf } from '../../options';
import { InvalidArgumentError, type Command } from 'commander';
import { failure } from '../../errors';
import { defineCommand, finishCommand, type Context, type Session } from '../command';
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
  takesOutput,
  type CommonFlags,
  type ReadFlags,
  type RegistryFlags,
} from '../options';
import type { Report } from '../output';
import { humanBytes, humanCount } from '../text';

interface Flags extends CommonFlags, ReadFlags, RegistryFlags {
  platform?: string[];
  chunks: number;
  depth: number;
  sharedWith?: string[];
  html?: string;
  trace?: string;
}

export function inspectCommand(session: Session): Command {
  const command = defineCommand('inspect <REF|PATH>', 'Show what an image or a layer is made of', [
    'inspect oci:app:latest',
    'inspect layer.blob --descriptor descriptor.json --chunks all',
    'inspect oci-archive:app.tar --json',
    'inspect oci:app:latest --html app.html --trace app.trace',
  ]);
  command
    .option('--chunks <n|all>', 'entries of each chunk table to print', parseChunks, 10)
    .option('--depth <n>', 'levels of the directory tree, the root is 0', parseCount, 3);
  command.addOption(
    flagOf(optionsOf.inspect.sharedWith, 'say how much of it this image has, too; repeatable', 'ref'),
  );
  command
    .option('--html <file>', 'write a page instead: its chunks, its files by size, what lies where')
    .option('--trace <file>', 'show in the page what a trace reads');
  addPlatformOption(command, 'only this os/arch[/variant] of an index, repeatable (default: all)');
  addReadOptions(command);
  addRegistryOptions(command);
  return finishCommand(command, session, async ({ options }, [subject]) => {
    const flags = command.opts<Flags>();
    refuseDescriptorOfImage(subject!, flags);
    if (flags.html !== undefined) return writePage(subject!, flags.html, flags, options);
    if (flags.trace !== undefined)
      throw failure('USAGE', '--trace', 'it is shown in a page', 'add --html FILE');
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

async function writePage(
  subject: string,
  file: string,
  flags: Flags,
  options: Context['options'],
): Promise<Report> {
  const { platform = [], sharedWith = [], trace } = flags;
  if (platform.length > 1 || sharedWith.length > 1) {
    throw failure(
      'USAGE',
      '--html',
      'a page shows one image, or two beside each other',
      'give each flag once',
    );
  }
  const stdoutTaken = takesOutput(file, flags);
  const { writeImagePage } = await library();
  const document = await writeImagePage(subject, file, {
    ...options,
    ...(await readOptions(flags)),
    ...registryOptions(flags),
    ...given({ platform: platform[0], sharedWith: sharedWith[0], trace }),
  });
  const { size, layers, chunks } = document;
  const summary = `${humanCount(layers, 'layer')}, ${humanCount(chunks, 'chunk')}: ${humanBytes(size)}`;
  return { document: { file, ...document }, text: [file], summary: [summary], stdoutTaken };
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
