import { Option, type Command } from 'commander';
import { failure } from '../../errors';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import { given, parseCount, type CommonFlags } from '../options';
import { addLazyOptions, lazyOptions, type LazyFlags } from '../lazy-options';
import { addViewOptions, viewOptions, type ViewFlags } from '../view-options';
import { stateFlag } from './mount';

interface Flags extends CommonFlags, Omit<ViewFlags, 'oneLayer'>, LazyFlags {
  verity?: 'auto' | 'require' | 'off';
  state?: string;
  pidsLimit?: number;
  memory?: string;
}

export function runCommand(session: Session): Command {
  const command = defineCommand('run <REF|PATH> [CMD...]', 'Try an image in a throw-away container', [
    'run oci:app:latest -- /bin/sh -c \'echo "hello world !"\'',
    'run oci:app:latest --verity require',
    'run oci:app:latest --pids-limit 64 --memory 256MiB',
  ]);
  command
    .addOption(
      new Option('--verity <policy>', 'as of mount (default: auto)').choices(['auto', 'require', 'off']),
    )
    .option('--pids-limit <n>', 'processes and threads at once (default: no limit)', parseCount)
    .option('--memory <size>', 'memory, files that it writes included (default: no limit)')
    .option(...stateFlag);
  addLazyOptions(command);
  addViewOptions(command, { reads: false });
  return finishCommand(command, session, async ({ options, handOver }, [subject, ...words]) => {
    const flags = command.opts<Flags>();
    if (flags.json === true) throw failure('USAGE', 'run', "stdout is the container's", 'leave out --json');
    const { verity, state, pidsLimit, memory: size } = flags;
    const { runImage, parseByteSize } = await library();
    const memory = size === undefined ? undefined : parseByteSize(size);
    const { exitCode } = await runImage(subject!, words, {
      ...options,
      ...(await viewOptions(subject!, flags)),
      ...given({ verity, state, pidsLimit, memory }),
      ...lazyOptions(flags),
      relaySignals: handOver,
    });
    session.exitCode = exitCode;
    return { document: null, text: [] };
  });
}
