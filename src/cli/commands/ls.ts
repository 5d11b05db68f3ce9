import type { Command } from 'commander';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import { listingLines } from '../listing-text';
import type { CommonFlags } from '../options';
import { addViewOptions, viewOptions, type ViewFlags } from '../view-options';

interface Flags extends CommonFlags, ViewFlags {
  long?: true;
  recursive?: true;
}

export function lsCommand(session: Session): Command {
  const command = defineCommand('ls <REF|PATH> [PATH...]', 'List files without mounting', [
    'ls oci:app:latest /etc /usr/bin',
    'ls layer.blob --descriptor descriptor.json -R',
    'ls https://host/layer.blob /usr --descriptor descriptor.json --json',
  ]);
  command.option('-l, --long', 'modes, owners, sizes and times: always shown, so that this changes nothing');
  command.option('-R, --recursive', 'the directory itself, and everything below it');
  addViewOptions(command);
  return finishCommand(command, session, async ({ options }, [subject, ...paths]) => {
    const flags = command.opts<Flags>();
    const { listEntries } = await library();
    const recursive = flags.recursive ?? false;
    const items = listEntries(subject!, paths.length === 0 ? '/' : paths, {
      ...options,
      ...(await viewOptions(subject!, flags)),
      recursive,
    });
    return { document: items, text: listingLines(items, recursive || paths.length > 1) };
  });
}
