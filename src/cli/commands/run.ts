import { Option, type Command } from 'commander';
import { failure } from '../../errors';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import { given, type CommonFlags } from '../options';
import { addViewOptions, viewOptions, type ViewFlags } from '../view-options';
import { stateFlag } from './mount';

interface Flags extends CommonFlags, Omit<ViewFlags, 'oneLayer'> {
  verity?: 'auto' | 'require' | 'off';
  state?: string;
}

export function runCommand(session: Session): Command {
  const command = defineCommand('run <REF|PATH> [CMD...]', 'Try an image in a throw-away container', [
    'run oci:app:latest -- /bin/sh -c \'echo "hello world !"\'',
    'run oci:app:latest --verity require',
  ]);
  command
    .addOption(
      new Option('--verity <policy>', 'as of mount (default: auto)').choices(['auto', 'require', 'off']),
    )
    .option(...stateFlag);
  addViewOptions(command, { oneLayer: false });
  return finishCommand(command, session, async ({ options, handOver }, [subject, ...words]) => {
    const flags = command.opts<Flags>();
    if (flags.json === true) throw failure('USAGE', 'run', "stdout is the container's", 'leave out --json');
    const { verity, state } = flags;
    const { runImage } = await library();
    const { exitCode } = await runImage(subject!, words, {
      ...options,
      ...(await viewOptions(subject!, flags)),
      ...given({ verity, state }),
      relaySignals: handOver,
    });
    session.exitCode = exitCode;
    return { document: null, text: [] };
  });
}
