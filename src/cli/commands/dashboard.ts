import type { Command } from 'commander';
import { failure } from '../../errors';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import { given } from '../options';
import { queueFlag } from './queue-flag';

/** `queue dashboard`. */
export function dashboardCommand(session: Session): Command {
  const command = defineCommand('dashboard', 'Show the queue as a web page (Bull Board)', [
    'queue dashboard --queue redis://queue.example',
    'queue dashboard --listen 127.0.0.1:9000 --write --queue redis://queue.example',
  ]);
  command
    .addOption(queueFlag().makeOptionMandatory())
    .option('--listen <addr:port>', 'where; there is no log-in', '127.0.0.1:8080')
    .option('--write', 'let the page retry and remove jobs');
  return finishCommand(command, session, async ({ options }) => {
    const { queue, listen, write } = command.opts<{ queue: string; listen: string; write?: true }>();
    const { serveDashboard } = await library();
    await serveDashboard(queue, listen, {
      ...given({ write }),
      signal: options.signal,
      onWarning: options.onWarning,
      onReady: (url) => {
        options.onWarning(`the queue is shown at ${url}`);
      },
    });
    throw failure('CANCELLED', 'dashboard', 'ended');
  });
}
