import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import type { Summary } from './worker';

/** What came of a worker. */
export interface Outcome {
  /** One text for each case that failed. */
  faults: string[];
  /** Null when the worker did not come to its end. */
  summary: Summary | null;
}

/**
 * Runs a worker (worker.ts says what it prints) to its end. One that dies, or says nothing for `silence` milliseconds, is a fault of the
 * case that it was at. `temporary` is its folder for temporary files.
 */
export function supervise(command: string[], silence: number, temporary = tmpdir()): Promise<Outcome> {
  const env = { ...process.env, TMPDIR: temporary };
  const worker = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'], env });
  const outcome: Outcome = { faults: [], summary: null };
  let [current, complaints, isSilent] = ['before its first case', '', false];
  const alarm = setTimeout(() => {
    isSilent = true;
    worker.kill('SIGKILL');
  }, silence);
  createInterface(worker.stdout).on('line', (line) => {
    alarm.refresh();
    const [kind, rest] = [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)];
    if (kind === 'case') current = `case ${rest}`;
    if (kind === 'fault')
      outcome.faults.push(`${current}: ${JSON.parse(rest.slice(rest.indexOf(' '))) as string}`);
    if (kind === 'done') outcome.summary = JSON.parse(rest) as Summary;
  });
  worker.stderr.on('data', (text: Buffer) => (complaints = `${complaints}${text.toString()}`.slice(-4000)));
  return new Promise((resolve) => {
    worker.on('close', (code, signal) => {
      clearTimeout(alarm);
      if (isSilent) outcome.faults.push(`${current}: no end after ${silence} ms`);
      else if (code !== 0)
        outcome.faults.push(`${current}: died of ${signal ?? `exit code ${code}`}\n${complaints}`);
      resolve(outcome);
    });
  });
}
