import { Option, type Command } from 'commander';
import { failure } from '../../errors';
import { defineCommand, finishCommand, type Session } from '../command';
import { addServerOptions, type ServerFlags } from '../lazy-options';
import { library } from '../library';
import {
  addRegistryOptions,
  given,
  parseCount,
  parseFileName,
  registryOptions,
  type CommonFlags,
  type RegistryFlags,
} from '../options';
import { systemdUnit } from '../systemd-unit';
import { stateFlag } from './mount';

interface Flags extends CommonFlags, ServerFlags, RegistryFlags {
  state?: string;
  keep?: number;
  erofsCache?: string;
  snapshotter?: string;
  differ?: string;
  containerdRoot?: string;
  printConfig?: 'systemd';
}

export function serveCommand(session: Session): Command {
  const command = defineCommand('serve', 'Run the lazy server, for mount --lazy, run --lazy and containerd', [
    'serve',
    'serve --background off --io-timeout 20 --cache-size 50GiB',
    'serve --snapshotter /run/seekable-erofs/snapshotter.sock',
  ]);
  addFlags(command);
  return finishCommand(command, session, async ({ options, elapsed }) => {
    const { printConfig, progress, ...flags } = command.opts<Flags>();
    if (printConfig !== undefined) {
      const unit = systemdUnit({ ...serverSettings(flags), ...registrySettings(flags) });
      return { document: { unit: unit.join('\n') }, text: unit, summary: [] };
    }
    const { serveLazily } = await library();
    await serveLazily({
      ...given(serverSettings(flags)),
      ...registryOptions(flags),
      jsonLog: progress === 'json',
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

type Given = Omit<Flags, 'printConfig' | 'progress'>;

function serverSettings(flags: Given) {
  const { state, background, ioTimeout, cacheSize, keep, metrics } = flags;
  const { erofsCache, snapshotter, differ, containerdRoot } = flags;
  const doors = { erofsCache, snapshotter, differ, containerdRoot };
  return { state, background, ioTimeout, cacheSize, keep, metrics, ...doors };
}

function registrySettings({ authfile, certDir, insecureHttp, concurrency }: Given) {
  return { authfile, certDir, insecureHttp, concurrency };
}

function addFlags(command: Command): void {
  addServerOptions(command);
  command
    .option('--keep <days>', 'how long layers are kept that nothing has mounted (default: 30)', parseCount)
    .option(...stateFlag);
  addDoorOptions(command);
  addRegistryOptions(command);
  command.addOption(
    new Option(
      '--print-config <kind>',
      'print a configuration that runs this with these flags, and end',
    ).choices(['systemd']),
  );
}

/** What containerd is offered. */
function addDoorOptions(command: Command): void {
  command
    .optionsGroup('For containerd (docs/containerd.md):')
    .option(
      '--erofs-cache <dir>',
      'show images in this empty folder, as its layer content cache (see lazy)',
      parseFileName,
    )
    .option('--snapshotter <socket>', 'serve its proxy plugin of type "snapshot" there', parseFileName)
    .option('--differ <socket>', 'serve its proxy plugin of type "diff" there', parseFileName)
    .option(
      '--containerd-root <dir>',
      'where containerd keeps its data (default: /var/lib/containerd)',
      parseFileName,
    );
}
