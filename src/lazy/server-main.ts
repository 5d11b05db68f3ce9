// The process of the lazy server: started by its keeper, which holds the FUSE device as well.
import { closeSync } from 'node:fs';
import {
  backgroundRate,
  cacheLimits,
  clearDeadServer,
  deviceDescriptor,
  type LazyServeOptions,
  type ServerMessage,
} from './keeper';
import { LazyFolder } from './lazy-folder';
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

async function main(settings: string): Promise<void> {
  const options = JSON.parse(settings) as LazyServeOptions & { takeOver: boolean };
  const { state, background, ioTimeout, untilIdle, takeOver } = options;
  let isStopping = false;
  const server = new LazyServer(await LazyFolder.open(state), deviceDescriptor, {
    ioTimeout: (ioTimeout ?? defaultIoTimeout) * 1000,
    backgroundRate: backgroundRate(background),
    cacheLimits: cacheLimits(options),
    onWarning: (line) => {
      console.error(`warning: ${line}`);
    },
    onInitialised: (resends) => {
      tell({ resends });
    },
    onEnded: () => {
      tell({ ended: true });
      if (!process.connected) stop();
    },
    onIdle: () => {
      if (untilIdle !== true && process.connected) return;
      tell({ idle: true });
      if (!process.connected) stop(); // its keeper was killed
    },
  });
  const stop = (): void => {
    if (!isStopping) void end(server, state);
    isStopping = true;
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', () => undefined); // the keeper's, from a terminal
  process.on('SIGHUP', () => undefined);
  process.on('disconnect', () => undefined); // goes on without a keeper
  await server.start(takeOver);
  tell({ ready: true });
  loadRegistries();
}

async function end(server: LazyServer, state: string | undefined): Promise<never> {
  try {
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
  console.error(`error: ${(error as Error).message}`);
  process.exit(1);
});
