import type { Command } from 'commander';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import { given, type CommonFlags } from '../options';
import { humanCount, speedLine } from '../text';
import { addViewOptions, viewOptions, type ViewFlags } from '../view-options';

interface Flags extends CommonFlags, ViewFlags {
  force?: true;
}

export function extractCommand(session: Session): Command {
  const command = defineCommand(
    'extract <REF|PATH> <DIR> [PATH...]',
    'Write files to a folder, without mounting',
    [
      'extract oci:app:latest rootfs',
      'extract layer.blob etc-only /etc --descriptor descriptor.json',
      "extract oci:app:latest configs '/etc/*.conf' '/usr/**/*.json'",
      'extract oci:app:latest changes --one-layer 2',
    ],
  );
  command.option('--force', 'into a folder that is not empty: replace files and links in the way');
  addViewOptions(command);
  return finishCommand(command, session, async ({ options, elapsed }, [subject, dir, ...paths]) => {
    const flags = command.opts<Flags>();
    const { extractImage } = await library();
    const document = await extractImage(subject!, dir!, {
      ...options,
      ...(await viewOptions(subject!, flags)),
      ...given({ force: flags.force, paths: paths.length === 0 ? undefined : paths }),
      inputs: flags.descriptor === undefined || flags.descriptor === '-' ? [] : [flags.descriptor],
    });
    const { entries, bytes } = document;
    return {
      document,
      text: [],
      summary: [`${humanCount(entries, 'entry', 'entries')}, ${speedLine(bytes, elapsed())}`],
    };
  });
}
