import type { Command } from 'commander';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import { given, type CommonFlags } from '../options';
import type { MountedLazily, MountResult } from '../../index';
import { humanBytes, humanCount, table } from '../text';
import { watch } from '../watch';
import { stateFlag } from './mount';

interface Flags extends CommonFlags {
  state?: string;
  watch?: true;
}

export function mountsCommand(session: Session): Command {
  const command = defineCommand('mounts', 'List what is mounted, and what checks it', [
    'mounts --json',
    'mounts --watch',
  ]);
  command
    .option('--watch', 'each second anew, until it is interrupted; with --json one document a line')
    .option(...stateFlag);
  return finishCommand(command, session, async ({ streams, options: { signal } }) => {
    const { state, json = false, watch: isWatched } = command.opts<Flags>();
    const { listMounts } = await library();
    const look = async () => {
      const document = await listMounts(given({ state }));
      return { document, text: table(rowsOf(document)) };
    };
    if (isWatched === true) await watch(streams, { json, signal }, look);
    return look();
  });
}

function rowsOf(mounts: readonly MountResult[]): string[][] {
  return mounts.flatMap(({ target, layers }) =>
    layers.length === 0
      ? [[target, 'the record of it was lost: umount it']]
      : layers.map(({ diffId, device, verity, lazy }) => [
          target,
          diffId,
          device,
          `verity: ${verity}`,
          lazy === undefined ? '' : lazyText(lazy),
        ]),
  );
}

function lazyText(lazy: MountedLazily): string {
  const { present, chunks, bytesFetched, bytesHit, waiting, p50, p99, source } = lazy;
  const share = `${present} of ${humanCount(chunks, 'chunk')}, ${humanBytes(bytesFetched)} fetched, ${humanBytes(bytesHit)} read from the cache`;
  const prefetched = lazy.prefetchedRead + lazy.prefetchedUnread;
  const foreseen = prefetched > 0 ? `, of ${prefetched} prefetched ${lazy.prefetchedRead} were read` : '';
  const pace = p50 === null ? '' : `, a reader waited ${Math.round(p50)} ms (p99: ${Math.round(p99!)} ms)`;
  return `lazy: ${share}${foreseen}${pace}${waiting > 0 ? `, ${humanCount(waiting, 'read waits', 'reads wait')}` : ''}, from ${source}`;
}
