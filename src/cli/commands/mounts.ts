import type { Command } from 'commander';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import { given, type CommonFlags } from '../options';
import { table } from '../text';
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
        : layers.map(({ diffId, device, verity }) => [target, diffId, device, `verity: ${verity}`]),
    );
    return { document, text: table(rows) };
  });
}
