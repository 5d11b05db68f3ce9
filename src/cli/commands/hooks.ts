import type { Command } from 'commander';
import { failure } from '../../errors';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import {
  addRegistryOptions,
  given,
  parseCount,
  registryOptions,
  type CommonFlags,
  type RegistryFlags,
} from '../options';
import { queueFlag } from './queue-flag';

interface Flags extends CommonFlags, RegistryFlags {
  listen: string;
  policy: string;
  queue: string;
  poll?: number;
}

export function hooksCommand(session: Session): Command {
  const command = defineCommand(
    'hooks',
    'Have images converted as they are pushed, by webhooks of registries',
    [
      'hooks --listen 0.0.0.0:8090 --policy policy.yaml --queue redis://queue.example',
      'hooks --listen 127.0.0.1:8090 --policy policy.yaml --poll 300 --queue redis://queue.example',
    ],
  );
  command
    .requiredOption('--listen <addr:port>', 'where registries send their notifications')
    .requiredOption('--policy <file>', 'which images, and where to: YAML (docs/service.md)')
    .addOption(queueFlag().makeOptionMandatory())
    .option('--poll <seconds>', 'look at the registries as well, so often', parseCount);
  addRegistryOptions(command);
  return finishCommand(command, session, async ({ options }) => {
    const flags = command.opts<Flags>();
    const { listen, policy, queue, poll } = flags;
    const { serveHooks } = await library();
    await serveHooks({
      ...registryOptions(flags),
      ...given({ poll }),
      listen,
      policy,
      queue,
      signal: options.signal,
      onWarning: options.onWarning,
      onReady: (url) => {
        options.onWarning(`taking notifications at ${url}`);
      },
    });
    throw failure('CANCELLED', 'hooks', 'ended');
  });
}
