import { checkOptions } from '../options';
import { keepServer, type KeeperOptions } from '../lazy/keeper';
import { repairMounts } from '../mount/unmount';
import { Doors } from './doors';
import { tellServiceManager } from './service-manager';

/** What serveLazily() takes. */
export interface ServeOptions extends Omit<KeeperOptions, 'untilIdle'> {
  /** Path of the Unix socket for containerd's proxy plugin of type "snapshot"; default: none. */
  snapshotter?: string | undefined;
  /** Path of the Unix socket for containerd's proxy plugin of type "diff"; default: none. */
  differ?: string | undefined;
  /** Where containerd keeps its data; default: `/var/lib/containerd`. */
  containerdRoot?: string | undefined;
  /** containerd's own socket; default: `/run/containerd/containerd.sock`. */
  containerdAddress?: string | undefined;
  /** Of the snapshotter: file with credentials for registries, as `skopeo login --authfile` writes it. */
  authFile?: string | undefined;
  /** Of the snapshotter: folder with certificates of authorities to trust. */
  certDir?: string | undefined;
  /** Of the snapshotter: registries that don't answer TLS are spoken to in plain HTTP, as those on loopback always are. */
  insecureHttp?: boolean | undefined;
  /** Of the snapshotter: requests at once, to each registry; default: 6. */
  concurrency?: number | undefined;
  /** What the doors to containerd have done is a JSON object a line. */
  jsonLog?: boolean | undefined;
  /** Tells the service manager that started this process (`$NOTIFY_SOCKET`, sd_notify(3)) when all is ready. */
  notify?: boolean | undefined;
}

const defaultContainerdRoot = '/var/lib/containerd';
const defaultContainerdAddress = '/run/containerd/containerd.sock';

/**
 * Runs the machine's lazy server until `signal` is aborted: mounts with `lazy: true` and the same state folder use it instead of starting one
 * of their own. With `snapshotter` or `differ` it serves containerd as well. FAILED when one runs already, or somebody listens on a socket;
 * MACHINE without root or FUSE.
 */
export async function serveLazily(options: ServeOptions = {}): Promise<void> {
  checkOptions('serveLazily', options);
  const told = options.notify === true ? notifying(options) : options;
  if (options.snapshotter === undefined && options.differ === undefined) return keepServer(told);
  return serveContainerd(told);
}

function notifying(options: ServeOptions): ServeOptions {
  const onReady = (socket: string): void => {
    tellServiceManager('READY=1');
    options.onReady?.(socket);
  };
  const stopping = (): void => {
    tellServiceManager('STOPPING=1');
  };
  for (const signal of [options.signal, options.leave])
    signal?.addEventListener('abort', stopping, { once: true });
  return { ...options, onReady };
}

async function serveContainerd(options: ServeOptions): Promise<void> {
  const doors = new Doors(doorSettings(options), (line) => options.onWarning?.(line));
  const ending = new AbortController();
  const leaving = new AbortController();
  let fault: Error | undefined;
  let opening: Promise<void> | null = null;
  const restart = doors.restart.bind(doors);
  // What a server had that was killed with its keeper can't be read any more: it goes, and is mounted again when it is needed.
  await repairMounts({ state: options.state });
  process.on('SIGUSR2', restart);
  const unfollow = [follow(options.signal, doors, ending), follow(options.leave, doors, leaving)];
  try {
    await keepServer({
      ...options,
      signal: ending.signal,
      leave: leaving.signal,
      onReady: (socket) => {
        if (opening !== null) return;
        opening = doors.start().then(
          () => options.onReady?.(socket),
          (error: unknown) => {
            fault = error as Error;
            ending.abort();
          },
        );
      },
    });
  } finally {
    process.off('SIGUSR2', restart);
    for (const forget of unfollow) forget();
    await doors.stop();
  }
  if (fault !== undefined) throw fault;
}

/** Aborts `then` after `signal`, when calls of containerd were answered: they may need the lazy server. Gives what ends that. */
function follow(signal: AbortSignal | undefined, doors: Doors, then: AbortController): () => void {
  const close = (): void => {
    void doors.stop().then(() => {
      then.abort();
    });
  };
  signal?.addEventListener('abort', close, { once: true });
  return () => signal?.removeEventListener('abort', close);
}

function doorSettings(options: ServeOptions) {
  const { state, snapshotter, differ, containerdRoot = defaultContainerdRoot, jsonLog = false } = options;
  const { authFile, certDir, insecureHttp, concurrency } = options;
  return {
    state,
    snapshotter,
    differ,
    root: containerdRoot,
    address: options.containerdAddress ?? defaultContainerdAddress,
    access: { authFile, certDir, insecureHttp, concurrency },
    json: jsonLog,
  };
}
