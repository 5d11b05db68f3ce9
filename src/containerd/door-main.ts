// The process of the doors to containerd: gRPC services on Unix sockets. The lazy server is another: what mounts layers must not serve them.
import '../no-inspector';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { SeekableErofsError } from '../errors';
import { cachePlacesOf, documentsFolder } from '../lazy/cache-room';
import { ContentClient, type StoredImage } from './content-client';
import { applyLayer, type ApplyRequest } from './differ';
import { DoorLog } from './door-log';
import type { Door, DoorMessage, DoorSettings } from './doors';
import { openGrpc, StatusError, type GrpcServer, type Handler } from './grpc-server';
import { PulledImages } from './pulled-images';
import { SnapshotDatabase } from './snapshotter/database';
import { SnapshotFolders } from './snapshotter/folders';
import { LayerMounts } from './snapshotter/layer-mounts';
import { snapshotCalls } from './snapshotter/service';
import { Snapshotter } from './snapshotter/snapshotter';
import { toWire } from './wire';

const settings = JSON.parse(process.argv[2]!) as DoorSettings;
const log = new DoorLog(settings.json);
const closing: (() => Promise<void>)[] = [];

function tell(message: DoorMessage): void {
  if (process.connected) process.send?.(message);
}

async function openSnapshotter(): Promise<GrpcServer> {
  const { state, root, access } = settings;
  const { content } = cachePlacesOf(state);
  const folders = await SnapshotFolders.open(join(content, 'containerd'));
  const database = await SnapshotDatabase.open(folders.database);
  closing.unshift(() => database.close());
  const onWarning = (line: string): void => {
    log.warning(line);
  };
  const mounts = new LayerMounts(folders.layers, { ...access, state, lazy: true, onWarning });
  const images = new PulledImages({
    ...access,
    onWarning,
    content: join(root, 'io.containerd.content.v1.content'),
    documents: documentsFolder(cachePlacesOf(state)),
  });
  const snapshotter = new Snapshotter({ database, folders, mounts, images, ask, content, log });
  await snapshotter.cleanup();
  return openGrpc('snapshots', logged(snapshotCalls(snapshotter)));
}

/** Of a containerd that can't be asked nothing is known: its layers are unpacked. */
async function ask(namespace: string, chainId: string): Promise<StoredImage[]> {
  const client = new ContentClient(settings.address, namespace);
  try {
    return await client.findImage(chainId);
  } catch (error) {
    log.warning(`containerd was not asked which image ${chainId} is of: ${(error as Error).message}`);
    return [];
  } finally {
    client.close();
  }
}

function openDiffer(): GrpcServer {
  const apply = async (request: ApplyRequest, signal: AbortSignal) => {
    const began = performance.now();
    const onWarning = (line: string): void => {
      log.warning(line);
    };
    const applied = await applyLayer(request, { root: settings.root, onWarning, signal });
    const ms = Math.round(performance.now() - began);
    log.event('apply', { layer: request.diff!.digest, diffId: applied.digest, bytes: applied.size, ms });
    return { applied: toWire(applied) };
  };
  const diff: Handler = () => Promise.reject(new StatusError('UNIMPLEMENTED', 'layers are not made here'));
  return openGrpc('diff', logged({ Apply: apply, Diff: diff }));
}

/** What fails is in the log as well; what containerd asks to learn, as whether something is there, is no failure. */
function logged(calls: Readonly<Record<string, Handler>>): Record<string, Handler> {
  const expected = ['ALREADY_EXISTS', 'NOT_FOUND', 'UNIMPLEMENTED'];
  return Object.fromEntries(
    Object.entries(calls).map(([name, call]) => [
      name,
      async (request: never, signal: AbortSignal) => {
        try {
          return await call(request, signal);
        } catch (error) {
          if (!(error instanceof StatusError && expected.includes(error.status)))
            log.event('refused', { call: name, why: (error as Error).message });
          throw error;
        }
      },
    ]),
  );
}

async function main(): Promise<void> {
  const { snapshotter, differ } = settings;
  for (const name of ['SIGTERM', 'disconnect'] as const) process.on(name, () => void end());
  for (const name of ['SIGINT', 'SIGHUP', 'SIGUSR2'] as const) process.on(name, () => undefined);
  const servers: Partial<Record<Door, GrpcServer>> = {};
  closing.push(async () => {
    await Promise.all(Object.values(servers).map((server) => server.close()));
  });
  if (snapshotter !== undefined) servers.snapshotter = await openSnapshotter();
  if (differ !== undefined) servers.differ = openDiffer();
  process.on('message', ({ door }: { door: Door }, connection?: Socket) => {
    if (connection !== undefined) servers[door]?.accept(connection);
  });
  tell({ ready: true });
}

let isEnding = false;

/** Calls under way are answered first, then the database is closed. */
async function end(): Promise<never> {
  if (isEnding) return new Promise(() => undefined);
  isEnding = true;
  for (const close of closing.reverse()) await close().catch(() => undefined);
  process.exit(0);
}

main().catch((error: unknown) => {
  const known = error instanceof SeekableErofsError ? error : null;
  const { code, what, why, hint } = known ?? {
    code: 'FAILED' as const,
    what: 'containerd',
    why: (error as Error).message,
  };
  tell({ failed: { code, what, why, hint } });
  process.exit(1);
});
