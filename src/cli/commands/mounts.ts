import type { Command } from 'commander';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import { given, type CommonFlags } from '../options';
import type { MountedLazily } from '../../index';
import { humanBytes, table } from '../text';
import { stateFlag } from './mount';

interface Flags extends CommonFlags {
  state?: string;
}

export function mountsCommand(session: Session): Command {
  const command = defineCommand('mounts', 'List what is mounted, and what checks it', ['mounts --json']);
  command.option(...stateFlag);
  return finishCommand(command, session, async () => {
    const { listMounts } = await library();
    const document = await listMounts(given({ state: command.opts<Flags>().state }));
    const rows = document.flatMap(({ target, layers }) =>
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
    return { document, text: table(rows) };
  });
}

function lazyText({ present, chunks, bytesFetched, waiting, p50, p99, source }: MountedLazily): string {
  const share = `${present} of ${chunks} chunks, ${humanBytes(bytesFetched)} fetched`;
  const pace = p50 === null ? '' : `, a reader waited ${Math.round(p50)} ms (p99: ${Math.round(p99!)} ms)`;
  return `lazy: ${share}${pace}${waiting > 0 ? `, ${waiting} reads wait` : ''}, from ${source}`;
}
