import type { JobOptions, WarningOptions } from '../job';
import { connectOrStart, connectToServer } from '../lazy/client';
import { mountsHolder, type LazyConnection, type LazyLayerRequest, type LazyStatus } from '../lazy/messages';
import type { VerityDevice } from './kernel/dm-verity';
import { verityOf } from '../lazy/plain-verity';
import { LazyProgress } from './lazy-progress';
import type { VerityMode } from './plan';
import { omit } from '../oci/json';
import type { MountState } from './state';

/** How layers are read that are not here yet. */
export interface LazyOptions {
  /** Mount at once, and fetch chunks as they are read: by the machine's lazy server, which is started when none runs. */
  lazy?: boolean | undefined;
  /** Registries that have the same blobs, tried in this order when the image's own fails. */
  mirrors?: readonly string[] | undefined;
  /**
   * What is asked for before a program does: `auto` (the default: the hot part of layers that have one, and what the trace names that is
   * attached to the image), a file with a trace (in place of the attached one), `none`.
   */
  prefetch?: string | undefined;
  /** Write down what is read (docs/trace.md): a file for the trace. Makes the mount lazy. */
  record?: string | undefined;
  /** Of a server that is started: what it fetches after 10 s of quiet: `auto` (the default: all, as fast as it goes), `off`, bytes a second. */
  background?: string | number | undefined;
  /** Of a server that is started: seconds that a reader waits for what can't be had; default: 60. */
  ioTimeout?: number | undefined;
  /** Of a server that is started: bytes on disk of all layers that are kept, or text like `20GiB`. */
  cacheSize?: string | number | undefined;
  /** Of a server that is started: address and port, `127.0.0.1:9100`, where it answers `GET /metrics`; default: nowhere. */
  metrics?: string | undefined;
}

/** What the lazy server needs to read a layer. */
export interface LazySource extends Pick<
  LazyLayerRequest,
  'descriptor' | 'index' | 'source' | 'mirrors' | 'access' | 'allowUnverified' | 'prefetch' | 'image'
> {
  /** Files with the external devices of its image. */
  devices?: readonly string[] | undefined;
  /** See LazyLayerRequest. */
  vouchers: (mode: VerityMode) => string[];
  /** Whether its registry still gives it. @throws what it is refused with */
  ask: () => Promise<void>;
}

/** How a mount uses a layer. */
interface LayerUse extends Pick<LazyLayerRequest, 'key' | 'diffId' | 'record'> {
  mode: VerityMode;
}

/** A layer of a mount, as the lazy server wants it described. */
export function layerRequest({ key, diffId, mode, record }: LayerUse, lazy: LazySource): LazyLayerRequest {
  const source = omit(lazy, 'vouchers', 'ask', 'devices');
  return { key, diffId, withTree: mode === 'kernel', record, vouchers: lazy.vouchers(mode), ...source };
}

/** The layers of one mount, as the lazy server serves them. */
export class LazyLayers {
  private server: Promise<LazyConnection> | null = null;
  private readonly progress: LazyProgress;

  constructor(
    private readonly state: MountState,
    private readonly options: LazyOptions & WarningOptions & JobOptions,
  ) {
    this.progress = new LazyProgress(options.onProgress);
  }

  /** When the first layer needs it: all of them may be here. @throws MACHINE when no server comes up */
  private connection(): Promise<LazyConnection> {
    const { background, ioTimeout, cacheSize, metrics, onWarning } = this.options;
    this.server ??= connectOrStart({
      state: this.state.option,
      background,
      ioTimeout,
      cacheSize,
      metrics,
      onWarning,
    });
    return this.server;
  }

  /** Has a layer served. Resolves when its metadata is here. Errors as openBlob(). */
  async content(
    layer: LayerUse,
    lazy: LazySource,
  ): Promise<{ files: string[]; verity: VerityDevice | null; isFromDisk: boolean }> {
    const server = await this.connection();
    this.progress.add(server, layer.key);
    const answer = await server.call('add', layerRequest(layer, lazy));
    const { path, verity, isFromDisk = false } = answer;
    return { files: [path, ...(lazy.devices ?? [])], verity: verity && verityOf(verity), isFromDisk };
  }

  /** When the mount is made, or was given up. */
  async close(): Promise<void> {
    const server = await this.server?.catch(() => null);
    if (server == null) return;
    await this.progress.end(server);
    server.close();
  }
}

/** Tells the lazy server, if one runs, which layers are in use; it lets go of the others. The state is locked. */
export async function releaseLazyLayers(state: MountState, used: ReadonlySet<string>): Promise<void> {
  await withServer(state, async (server) => {
    const { layers } = await server.call('status', {});
    const keys = layers.filter(isUnused(used)).map(({ key }) => key);
    if (keys.length > 0 || layers.length === 0) await server.call('release', { keys });
  });
}

/** As releaseLazyLayers(), but only layers that are waited for: reads of them fail at once. The files of others are there until those are undone. */
export async function releaseWaiting(state: MountState, used: ReadonlySet<string>): Promise<void> {
  await withServer(state, async (server) => {
    const { layers } = await server.call('status', {});
    const keys = layers
      .filter(({ waiting }) => waiting > 0)
      .filter(isUnused(used))
      .map(({ key }) => key);
    if (keys.length > 0) await server.call('release', { keys });
  });
}

/** What mounts hold, and no mount has any more: others may hold layers as well. */
function isUnused(used: ReadonlySet<string>): (status: LazyStatus) => boolean {
  return ({ key, holders }) => holders.includes(mountsHolder) && !used.has(key);
}

async function withServer(state: MountState, use: (server: LazyConnection) => Promise<void>): Promise<void> {
  const server = await connectToServer(state.option);
  if (server === null) return;
  try {
    await use(server);
  } finally {
    server.close();
  }
}

/** What the lazy server says of its layers, by key; empty when none runs. */
export async function lazyStatuses(state: MountState): Promise<Map<string, LazyStatus>> {
  const server = await connectToServer(state.option).catch(() => null);
  if (server === null) return new Map();
  try {
    const { layers } = await server.call('status', {});
    return new Map(layers.map((status) => [status.key, status]));
  } finally {
    server.close();
  }
}
