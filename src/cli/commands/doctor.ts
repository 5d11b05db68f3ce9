import type { Command } from 'commander';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import { given, type CommonFlags } from '../options';
import { table } from '../text';
import { stateFlag } from './mount';

interface Flags extends CommonFlags {
  repair?: true;
  state?: string;
}

export function doctorCommand(session: Session): Command {
  const command = defineCommand('doctor', 'Show what this machine can do, and what is missing', [
    'doctor',
    'doctor --json',
    'doctor --repair',
  ]);
  command
    .option('--repair', 'also remove what crashes left of mounts and containers, as root')
    .option(...stateFlag);
  return finishCommand(command, session, async () => {
    const { doctor } = await library();
    const { repair, state } = command.opts<Flags>();
    const document = await doctor(given({ repair, state }));
    const rows = document.checks.map(({ name, status, detail, hint }) => [
      status,
      name,
      status === 'ok' || hint === '' ? detail : `${detail} (${hint})`,
    ]);
    const repaired = document.repaired?.map(
      ({ target, undone }) => `removed ${target}: ${undone.join(', ')}`,
    );
    const nothing = repaired?.length === 0 ? ['nothing to repair'] : [];
    return { document, text: [...table(rows), ...(repaired ?? [])], summary: nothing };
  });
}
