import { Option, type Command } from 'commander';
import { failure } from '../../errors';
import { defineCommand, finishCommand, type Session } from '../command';
import { addServerOptions, type ServerFlags } from '../lazy-options';
import { library } from '../library';
import { containerdConfig } from '../containerd-config';
import {
  addRegistryOptions,
  collect,
  given,
  parseCount,
  parseFileName,
  registryOptions,
  type CommonFlags,
  type RegistryFlags,
} from '../options';
import type { Report } from '../output';
import { systemdUnit } from '../systemd-unit';
import { stateFlag } from './mount';

interface Flags extends CommonFlags, ServerFlags, RegistryFlags {
  state?: string;
  keep?: number;
  erofsCache?: string;
  registry?: string;
  upstream?: string[];
  snapshotter?: string;
  differ?: string;
  containerdRoot?: string;
  containerdAddress?: string;
  printConfig?: 'systemd' | 'containerd';
}

export function serveCommand(session: Session): Command {
  const command = defineCommand('serve', 'Run the lazy server, for mount --lazy, run --lazy and containerd', [
    'serve',
    'serve --background off --io-timeout 20 --cache-size 50GiB',
    'serve --snapshotter /run/seekable-erofs/snapshotter.sock',
    'serve --erofs-cache /srv/layers --registry 127.0.0.1:5050 --upstream docker.io',
  ]);
  addFlags(command);
  return finishCommand(command, session, async ({ options, elapsed, onQuit }) => {
    const { printConfig, progress, ...flags } = command.opts<Flags>();
    if (printConfig !== undefined) return printed(printConfig, flags);
    const { serveLazily } = await library();
    const leaving = new AbortController();
    onQuit(() => {
      leaving.abort();
    });
    await serveLazily({
      ...given(serverSettings(flags)),
      ...registryOptions(flags),
      jsonLog: progress === 'json',
      notify: true,
      signal: options.signal,
      leave: leaving.signal,
      onWarning: options.onWarning,
      onReady: (socket) => {
        options.onWarning(`serving on ${socket}`);
      },
    });
    if (options.signal?.aborted === true) throw failure('CANCELLED', 'serve', 'ended');
    return { document: null, text: [], summary: [`served for ${Math.round(elapsed())} s`] };
  });
}

type Given = Omit<Flags, 'printConfig' | 'progress'>;

function serverSettings(flags: Given) {
  const { state, background, ioTimeout, cacheSize, keep, metrics } = flags;
  const { erofsCache, registry, upstream: upstreams, snapshotter, differ } = flags;
  const { containerdRoot, containerdAddress } = flags;
  const doors = { erofsCache, registry, upstreams, snapshotter, differ };
  return {
    state,
    background,
    ioTimeout,
    cacheSize,
    keep,
    metrics,
    ...doors,
    containerdRoot,
    containerdAddress,
  };
}

function registrySettings({ authfile, certDir, insecureHttp, concurrency }: Given) {
  return { authfile, certDir, insecureHttp, concurrency };
}

async function printed(kind: 'systemd' | 'containerd', flags: Given): Promise<Report> {
  const settings = serverSettings(flags);
  if (kind === 'systemd') {
    const unit = systemdUnit({ ...settings, ...registrySettings(flags) });
    return { document: { unit: unit.join('\n') }, text: unit, summary: [] };
  }
  const { hostPlatform } = await library();
  const lines = containerdConfig(settings, hostPlatform().architecture);
  return { document: { config: lines.join('\n') }, text: lines, summary: [] };
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
    ).choices(['systemd', 'containerd']),
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
    .option(
      '--registry <addr:port>',
      'be a mirror that fills the cache as images are pulled, e.g. 127.0.0.1:5050',
    )
    .addOption(
      new Option('--upstream <host>', 'a registry that the mirror asks, and no others; repeatable').argParser(
        collect,
      ),
    )
    .option('--snapshotter <socket>', 'serve its proxy plugin of type "snapshot" there', parseFileName)
    .option('--differ <socket>', 'serve its proxy plugin of type "diff" there', parseFileName)
    .option(
      '--containerd-root <dir>',
      'where containerd keeps its data (default: /var/lib/containerd)',
      parseFileName,
    )
    .option(
      '--containerd-address <socket>',
      "containerd's own socket (default: /run/containerd/containerd.sock)",
      parseFileName,
    );
}
