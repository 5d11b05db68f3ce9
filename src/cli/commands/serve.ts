import { Option, type Command } from 'commander';
import { failure } from '../../errors';
import { defineCommand, finishCommand, type Session } from '../command';
import { addServerOptions, type ServerFlags } from '../lazy-options';
import { library } from '../library';
import { given, parseCount, type CommonFlags } from '../options';
import { systemdUnit } from '../systemd-unit';
import { stateFlag } from './mount';

interface Flags extends CommonFlags, ServerFlags {
  state?: string;
  keep?: number;
  printConfig?: 'systemd';
}

export function serveCommand(session: Session): Command {
  const command = defineCommand('serve', 'Run the lazy server, for mount --lazy and run --lazy', [
    'serve',
    'serve --background off --io-timeout 20 --cache-size 50GiB',
  ]);
  addServerOptions(command);
  command
    .option('--keep <days>', 'how long layers are kept that nothing has mounted (default: 30)', parseCount)
    .option(...stateFlag);
  command.addOption(
    new Option(
      '--print-config <kind>',
      'print a configuration that runs this with these flags, and end',
    ).choices(['systemd']),
  );
  return finishCommand(command, session, async ({ options, elapsed }) => {
    const { state, background, ioTimeout, cacheSize, keep, metrics, printConfig } = command.opts<Flags>();
    if (printConfig !== undefined) {
      const unit = systemdUnit({ state, background, ioTimeout, cacheSize, keep, metrics });
      return { document: { unit: unit.join('\n') }, text: unit, summary: [] };
    }
    const { serveLazily } = await library();
    await serveLazily({
      ...given({ state, background, ioTimeout, cacheSize, keep, metrics }),
      signal: options.signal,
      onWarning: options.onWarning,
      onReady: (socket) => {
        options.onWarning(`serving on ${socket}`);
      },
    });
    if (options.signal?.aborted === true) throw failure('CANCELLED', 'serve', 'ended');
    return { document: null, text: [], summary: [`served for ${elapsed()}`] };
  });
}
