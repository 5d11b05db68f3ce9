import type { LazyStatus } from '../lazy/messages';
import { lazyStatuses } from './lazy-layers';
import { checkOptions } from '../options';
import { mountsAt, readMounts } from '../fs/mountinfo';
import { MountState, type StateOptions } from './state';
import type { MountedLayer, MountRecord } from './state-records';
import { isOurs } from './unmount';

/** What is mounted. */
export interface MountResult {
  /** Absolute, without symbolic links. */
  target: string;
  /** The lowest first. */
  layers: (MountedLayer & { lazy?: MountedLazily })[];
}

/** How far a layer is that fills as it is read; bytes are the image's but for `bytesFetched`, durations in milliseconds. */
export type MountedLazily = Omit<LazyStatus, 'key' | 'diffId' | 'holders'>;

/** What is mounted by mountImage(), sorted by target; without layers where the record of it was lost. Changes nothing, and needs no root. */
export async function listMounts(options: StateOptions = {}): Promise<MountResult[]> {
  checkOptions('listMounts', options);
  const state = await MountState.look(options.state);
  if (state === null) return [];
  const mounts = await readMounts();
  const lazy = await lazyStatuses(state);
  const listed: MountResult[] = [];
  for (const record of await state.mounts()) {
    const here = mountsAt(mounts, record.target);
    if (record.mounted && here.some((mount) => isOurs(state, record, mount, mounts)))
      listed.push(resultOf(record, lazy));
  }
  return listed;
}

/** What a record says to a user. */
export function resultOf(
  { target, kind, layers }: MountRecord,
  lazy: ReadonlyMap<string, LazyStatus> = new Map(),
): MountResult {
  if (kind === null) return { target, layers: [] };
  const shown = layers.map(({ diffId, device, verity, role, key }) => {
    const status = lazy.get(key);
    return { diffId, device, verity, ...(role && { role }), ...(status && { lazy: shownStatus(status) }) };
  });
  return { target, layers: shown };
}

function shownStatus(status: LazyStatus): MountedLazily {
  const { chunks, present, bytesPresent, bytesFetched, requests, waiting, source } = status;
  const { prefetchedRead, prefetchedUnread } = status;
  const { reads, hits, bytesRead, bytesHit, p50, p99 } = status;
  return {
    chunks,
    present,
    bytesPresent,
    bytesFetched,
    requests,
    waiting,
    source,
    reads,
    hits,
    bytesRead,
    bytesHit,
    prefetchedRead,
    prefetchedUnread,
    p50,
    p99,
  };
}
