// The process of the lazy server: started by its keeper, which holds the FUSE device as well.
import '../no-inspector';
import { closeSync } from 'node:fs';
import {
  backgroundRate,
  cacheLimits,
  clearDeadServer,
  type LazyServeOptions,
  type ServerMessage,
} from './keeper';
import { LazyFolder } from './lazy-folder';
import { logLine } from './log-line';
import { LazyMetrics } from './metrics';
import { serveMetrics } from '../metrics-server';
import { deviceDescriptor } from './orphan';
import { isLoopback } from '../store/registry/origin';
import { LazyServer } from './server';

const defaultIoTimeout = 60; // seconds

function tell(message: ServerMessage): void {
  if (process.connected) process.send?.(message);
}

/** What the first mount would wait for otherwise: most images come from registries. */
function loadRegistries(): void {
  for (const loading of [import('../store/registry/source.js'), import('undici')])
    loading.catch(() => undefined);
}

function warn(line: string): void {
  logLine(`warning: ${line}`);
}

/** Reads matter more: a server whose address is taken goes on without. */
async function offer(metrics: LazyMetrics, listen: string): Promise<void> {
  await serveMetrics(listen, metrics).catch((error: unknown) => {
    warn(`${(error as Error).message}; there are no metrics`);
  });
}

/** Reads of what is mounted matter more: a server whose address is taken goes on without. Gives what ends it. */
async function mirrorFor(server: LazyServer, options: LazyServeOptions): Promise<() => Promise<void>> {
  const { registry: listen, upstreams = [], authFile, certDir, insecureHttp } = options;
  const { images } = server;
  const nothing = async (): Promise<void> => undefined;
  if (listen === undefined || images === null) return nothing;
  const { startMirror } = await import('./mirror/registry-mirror.js');
  const access = { authFile, certDir, insecureHttp };
  if (!isLoopback(listen))
    warn(`${listen}: whoever can reach it can pull what this server's credentials can`);
  return startMirror({ listen, upstreams, access, images, onWarning: warn }).catch((error: unknown) => {
    warn(`${(error as Error).message}; there is no mirror`);
    return nothing;
  });
}

function once(work: () => Promise<unknown>): () => void {
  let isDone = false;
  return () => {
    if (!isDone) void work();
    isDone = true;
  };
}

/** Signals of a terminal are the keeper's; without a keeper the server goes on, also when it is asked to. */
function leaveToKeeper(server: LazyServer): void {
  process.on('message', () => {
    void server.isIdle().then((isIdle) => {
      tell(isIdle ? { idle: true } : { stays: true });
    });
  });
  for (const name of ['SIGINT', 'SIGHUP', 'disconnect']) process.on(name, () => undefined);
}

async function main(settings: string): Promise<void> {
  const options = JSON.parse(settings) as LazyServeOptions & { takeOver: boolean };
  const { state, background, ioTimeout = defaultIoTimeout, untilIdle, takeOver } = options;
  const metrics =
    options.metrics === undefined ? undefined : await LazyMetrics.create(() => server.statuses());
  let stopMirror = async (): Promise<void> => undefined;
  const server: LazyServer = new LazyServer(await LazyFolder.open(state), deviceDescriptor, {
    ioTimeout: ioTimeout * 1000,
    backgroundRate: backgroundRate(background),
    cacheLimits: cacheLimits(options),
    erofsCache: options.erofsCache,
    isLast: () => !process.connected,
    observer: metrics,
    onWarning: warn,
    onInitialised: (resends) => {
      tell({ resends });
    },
    onEnded: () => {
      leave({ ended: true });
    },
    onIdle: () => {
      if (untilIdle === true || !process.connected) leave({ idle: true });
    },
  });
  const leave = (why: ServerMessage): void => {
    tell(why);
    if (!process.connected) stop(); // its keeper was killed
  };
  const stop = once(() => end(server, state, stopMirror));
  process.on('SIGTERM', stop);
  leaveToKeeper(server);
  await server.start(takeOver);
  if (metrics !== undefined) await offer(metrics, options.metrics!);
  stopMirror = await mirrorFor(server, options);
  tell({ ready: true });
  loadRegistries();
}

async function end(
  server: LazyServer,
  state: string | undefined,
  stopMirror: () => Promise<void>,
): Promise<never> {
  try {
    await stopMirror();
    await server.stop();
    if (!process.connected) {
      // Its keeper was killed. The mount is given up before it is unmounted, so that nobody is waited for.
      closeSync(deviceDescriptor);
      await clearDeadServer(state);
    }
    process.exit(0);
  } catch {
    process.exit(1);
  }
}

main(process.argv[2]!).catch((error: unknown) => {
  logLine(`error: ${(error as Error).message}`);
  process.exit(1);
});
