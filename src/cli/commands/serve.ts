import type { Command } from 'commander';
import { defineCommand, finishCommand, type Session } from '../command';
import { addServerOptions, type ServerFlags } from '../lazy-options';
import { library } from '../library';
import { given, parseCount, type CommonFlags } from '../options';
import { stateFlag } from './mount';

interface Flags extends CommonFlags, ServerFlags {
  state?: string;
  keep?: number;
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
  return finishCommand(command, session, async ({ options, elapsed }) => {
    const { state, background, ioTimeout, cacheSize, keep } = command.opts<Flags>();
    const { serveLazily } = await library();
    await serveLazily({
      ...given({ state, background, ioTimeout, cacheSize, keep }),
      signal: options.signal,
      onWarning: options.onWarning,
      onReady: (socket) => {
        options.onWarning(`serving on ${socket}`);
      },
    });
    return { document: null, text: [], summary: [`served for ${elapsed()}`] };
  });
}
