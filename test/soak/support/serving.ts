import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { connectToServer } from '../../../src/lazy/client';
import { processesOf } from '../../conformance/support/lazy-image';
import { root, state } from '../../conformance/support/mounting';

const require = createRequire(join(root, 'package.json'));

/** Starts `serve` of a package; what it said and its exit code, once it has ended. */
export function serve(packageFolder = root) {
  const args = [join(packageFolder, 'dist/cli/main.js'), 'serve', '--background', 'off', '--state', state];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = once(child, 'exit').then(([code]) => ({ code: code as number | null, said }));
  const serving = (): boolean => said.includes('serving on');
  return { child, ended, serving };
}

/** The process of a server that answers; one that is being started is waited for. */
export async function pidOfServer(): Promise<number> {
  const client = require('./dist/lazy/client.js') as { connectToServer: typeof connectToServer };
  const server = await client.connectToServer(state);
  if (server === null) throw new Error('no lazy server runs, and nobody starts one');
  try {
    return (await server.call('status', {})).pid;
  } finally {
    server.close();
  }
}

/** Kills a server that answers, a moment later; sometimes the next one as well, before it answers. How many were killed. */
export async function killServer(): Promise<number> {
  const pid = await pidOfServer();
  await sleep(Math.random() * 300);
  process.kill(pid, 'SIGKILL');
  if (Math.random() < 0.7) return 1;
  let next: number | undefined;
  while (next === undefined || next === pid) {
    await sleep(5);
    [next] = processesOf('server-main');
  }
  await sleep(Math.random() * 300);
  process.kill(next, 'SIGKILL');
  return 2;
}
