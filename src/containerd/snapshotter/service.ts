import type { Handler } from '../grpc-server';
import type { WireMount } from '../wire';
import type { Snapshot } from './snapshot';
import type { NewSnapshot, Snapshotter } from './snapshotter';

interface Key {
  key: string;
}

interface Prepare extends Key {
  parent: string;
  labels: Record<string, string>;
}

interface Commit extends Prepare {
  name: string;
}

interface Update {
  info: { name: string; labels: Record<string, string> } | null;
  update_mask: { paths: string[] } | null;
}

interface List {
  filters: string[];
}

/** The calls of containerd's snapshots service, as `protos/snapshots.proto` has them. */
export function snapshotCalls(snapshotter: Snapshotter): Record<string, Handler> {
  const prepare = (kind: NewSnapshot['kind']) => async (request: Prepare) =>
    mounts(await snapshotter.prepare({ ...request, kind }));
  return {
    Prepare: prepare('ACTIVE'),
    View: prepare('VIEW'),
    Mounts: async ({ key }: Key) => mounts(await snapshotter.mounts(key)),
    Commit: async ({ key, ...request }: Commit) => {
      await snapshotter.commit(key, request);
      return {};
    },
    Remove: async ({ key }: Key) => {
      await snapshotter.remove(key);
      return {};
    },
    Stat: async ({ key }: Key) => ({ info: infoOf(await Promise.resolve(snapshotter.stat(key))) }),
    Update: async ({ info, update_mask: mask }: Update) => {
      const { name = '', labels = {} } = info ?? {};
      return { info: infoOf(await snapshotter.update(name, labels, mask?.paths ?? [])) };
    },
    List: async ({ filters }: List) => ({
      info: (await Promise.resolve(snapshotter.list(filters))).map(infoOf),
    }),
    Usage: ({ key }: Key) => snapshotter.usage(key),
    Cleanup: async () => {
      await snapshotter.cleanup();
      return {};
    },
  };
}

function mounts(list: WireMount[]) {
  return { mounts: list };
}

function infoOf({ name, parent, kind, labels, createdAt, updatedAt }: Snapshot) {
  return { name, parent, kind, labels, created_at: timestamp(createdAt), updated_at: timestamp(updatedAt) };
}

function timestamp(milliseconds: number) {
  return { seconds: Math.floor(milliseconds / 1000), nanos: (milliseconds % 1000) * 1_000_000 };
}
