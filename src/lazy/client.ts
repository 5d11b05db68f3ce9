import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SeekableErofsError, failure } from '../errors';
import { acquireLock } from '../fs/lock';
import { LazyFolder } from './lazy-folder';
import type { LazyServeOptions } from './keeper';
import { LazyConnection } from './messages';
import { connectTo } from './socket';

/** A server has this long to come up; in milliseconds. */
const startTime = 30_000;
const pause = 20;
const lastLines = 5;

/** The server of a state folder; null when none runs. One that was killed is waited for while its keeper starts the next. */
export async function connectToServer(state?: string): Promise<LazyConnection | null> {
  const folder = LazyFolder.at(state);
  const socket = await reach(folder);
  return socket && new LazyConnection(socket, () => reach(folder));
}

async function reach(folder: LazyFolder): Promise<Socket | null> {
  for (const deadline = performance.now() + startTime; performance.now() < deadline;) {
    const connected = await connectTo(folder.socket);
    if (connected !== null) return connected;
    if (!(await hasKeeper(folder))) break;
    await sleep(pause);
  }
  return null;
}

async function hasKeeper({ lock }: LazyFolder): Promise<boolean> {
  if (!existsSync(lock)) return false;
  try {
    await (await acquireLock(lock, { timeout: 0 })).release();
    return false;
  } catch (error) {
    if (error instanceof SeekableErofsError && error.code === 'FAILED') return true;
    throw error;
  }
}

/**
 * The server of a state folder, started in the background when none runs; it ends with the last layer that is in use then.
 * @param options used only by a server that is started; with one that runs, `onWarning` says that they were not
 * @throws MACHINE when none comes up
 */
export async function connectOrStart(
  options: LazyServeOptions & { onWarning?: ((line: string) => void) | undefined },
): Promise<LazyConnection> {
  const { state, background, ioTimeout, cacheSize, metrics, onWarning } = options;
  const folder = LazyFolder.at(state);
  const settings = { background, ioTimeout, cacheSize, metrics };
  const absolute = state === undefined ? undefined : resolve(state);
  // Also when the server was about to end, its last layer having gone.
  const reachOrStart = async (): Promise<Socket> =>
    (await reach(folder)) ?? start({ ...settings, state: absolute, untilIdle: true });
  const running = await reach(folder);
  if (running === null) return new LazyConnection(await reachOrStart(), reachOrStart);
  if (Object.values(settings).some((option) => option !== undefined)) {
    onWarning?.('a lazy server runs already: it keeps its own options');
  }
  return new LazyConnection(running, reachOrStart);
}

async function start(options: LazyServeOptions): Promise<Socket> {
  const folder = await LazyFolder.open(options.state);
  const log = await open(folder.log, 'w', 0o600);
  const child = spawn(process.execPath, [join(__dirname, 'keeper-main.js'), JSON.stringify(options)], {
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
    cwd: '/',
  });
  child.unref();
  await log.close();
  const ending = once(child, 'exit').then(
    () => true,
    () => true,
  );
  for (const deadline = performance.now() + startTime; performance.now() < deadline;) {
    // One that another mount has started at the same time is as good.
    const socket = await connectTo(folder.socket);
    if (socket !== null) return socket;
    if ((await Promise.race([ending, sleep(pause, false)])) && !(await someoneStarts(folder.log))) break;
  }
  const said = (await readFile(folder.log, 'utf8').catch(() => ''))
    .trim()
    .split('\n')
    .slice(-lastLines)
    .join('; ');
  throw failure('MACHINE', 'lazy server', `it did not come up (${said})`, `see ${folder.log}`);
}

async function someoneStarts(log: string): Promise<boolean> {
  return (await readFile(log, 'utf8').catch(() => '')).includes('runs there already');
}
