import { Option, type Command } from 'commander';
import { failure } from '../../errors';
import { defineCommand, finishCommand, type Session } from '../command';
import { addServerOptions, type ServerFlags } from '../lazy-options';
import { library } from '../library';
import { given, parseCount, parseFileName, type CommonFlags } from '../options';
import { systemdUnit } from '../systemd-unit';
import { stateFlag } from './mount';

interface Flags extends CommonFlags, ServerFlags {
  state?: string;
  keep?: number;
  erofsCache?: string;
  printConfig?: 'systemd';
}

export function serveCommand(session: Session): Command {
  const command = defineCommand('serve', 'Run the lazy server, for mount --lazy and run --lazy', [
    'serve',
    'serve --background off --io-timeout 20 --cache-size 50GiB',
  ]);
  addServeOptions(command);
  return finishCommand(command, session, async ({ options, elapsed }) => {
    const { printConfig, ...flags } = command.opts<Flags>();
    const { state, background, ioTimeout, cacheSize, keep, metrics, erofsCache } = flags;
    const settings = { state, background, ioTimeout, cacheSize, keep, metrics, erofsCache };
    if (printConfig !== undefined) {
      const unit = systemdUnit(settings);
      return { document: { unit: unit.join('\n') }, text: unit, summary: [] };
    }
    const { serveLazily } = await library();
    await serveLazily({
      ...given(settings),
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

function addServeOptions(command: Command): void {
  addServerOptions(command);
  command
    .option('--keep <days>', 'how long layers are kept that nothing has mounted (default: 30)', parseCount)
    .option(
      '--erofs-cache <dir>',
      "an empty folder to show images in, as containerd's layer content cache (see lazy)",
      parseFileName,
    )
    .option(...stateFlag);
  command.addOption(
    new Option(
      '--print-config <kind>',
      'print a configuration that runs this with these flags, and end',
    ).choices(['systemd']),
  );
}
