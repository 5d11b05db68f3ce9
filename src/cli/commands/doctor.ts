import type { Command } from 'commander';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import { table } from '../text';

export function doctorCommand(session: Session): Command {
  const command = defineCommand('doctor', 'Show what this machine can do, and what is missing', [
    'doctor',
    'doctor --json',
  ]);
  return finishCommand(command, session, async () => {
    const { doctor } = await library();
    const document = await doctor();
    const rows = document.checks.map(({ name, status, detail, hint }) => [
      status,
      name,
      status === 'ok' || hint === '' ? detail : `${detail} (${hint})`,
    ]);
    return { document, text: table(rows) };
  });
}
