import type { Command } from 'commander';
import { defineCommand, finishCommand, type Session } from '../command';
import { addServerOptions, type ServerFlags } from '../lazy-options';
import { library } from '../library';
import { given, type CommonFlags } from '../options';
import { stateFlag } from './mount';

interface Flags extends CommonFlags, ServerFlags {
  state?: string;
}

export function serveCommand(session: Session): Command {
  const command = defineCommand('serve', 'Run the lazy server, for mount --lazy and run --lazy', [
    'serve',
    'serve --background off --io-timeout 20',
  ]);
  addServerOptions(command);
  command.option(...stateFlag);
  return finishCommand(command, session, async ({ options, elapsed }) => {
    const flags = command.opts<Flags>();
    const { serveLazily } = await library();
    await serveLazily({
      ...given({ state: flags.state, background: flags.background, ioTimeout: flags.ioTimeout }),
      signal: options.signal,
      onWarning: options.onWarning,
      onReady: (socket) => {
        options.onWarning(`serving on ${socket}`);
      },
    });
    return { document: null, text: [], summary: [`served for ${elapsed()}`] };
  });
}
