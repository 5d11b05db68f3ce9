import type { Command } from 'commander';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import { given, type CommonFlags } from '../options';
import { stateFlag } from './mount';

interface Flags extends CommonFlags {
  state?: string;
}

export function umountCommand(session: Session): Command {
  const command = defineCommand('umount <DIR>', 'Undo all that mount did', ['umount /mnt']);
  command.option(...stateFlag);
  return finishCommand(command, session, async (_, [dir]) => {
    const { unmountImage } = await library();
    const document = await unmountImage(dir!, given({ state: command.opts<Flags>().state }));
    const { target, undone } = document;
    const line = undone.length === 0 ? 'nothing of ours was mounted there' : `undone: ${undone.join(', ')}`;
    return { document, text: [], summary: [`${target}: ${line}`] };
  });
}
