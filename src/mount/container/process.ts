import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { failure } from '../../errors';
import type { ContainerFolder } from './folder';
import type { Runtime } from './runtime';
import { StarterWatch } from './starter-watch';

/**
 * Gives the signals that this process gets to `deliver`, until the function that it returns is called. Called while a
 * container runs: they are meant for that.
 */
export type SignalRelay = (deliver: (signal: NodeJS.Signals) => void) => () => void;

interface ProcessOptions {
  terminal: boolean;
  relaySignals?: SignalRelay | undefined;
  signal?: AbortSignal | undefined;
}

/** Milliseconds that a container has for its own end after a signal; then it is killed. */
const patience = 5000;

/**
 * Runs the container of a filled folder to its end, with this process's stdin, stdout and stderr, and deletes it. Resolves with
 * its exit code. A signal is handed on; a second one, or one that does not end it, kills it: 128 + the signal's number. CANCELLED when
 * `signal` is aborted. When this process is killed, the container is as well.
 */
export async function runContainer(
  runtime: Runtime,
  folder: ContainerFolder,
  { terminal, relaySignals, signal }: ProcessOptions,
): Promise<number> {
  throwIfAborted(signal, folder);
  const flags = ['--log', folder.log, '--log-format', 'json', ...flagsOf(runtime, folder)];
  const args = ['run', '--bundle', folder.path, '--pid-file', folder.pid, folder.id];
  const watch = new StarterWatch([runtime.path, ...flagsOf(runtime, folder), ...deletion(folder)]);
  // Without a terminal of its own it is in a session of its own, so that Ctrl-C reaches it by us alone, once.
  const child = spawn(runtime.path, [...flags, ...args], {
    stdio: 'inherit',
    detached: !terminal,
  });
  watch.kills(child.pid);
  const ending = new Ending(child, runtime, folder);
  const onAbort = (): void => {
    ending.kill('SIGTERM');
  };
  signal?.addEventListener('abort', onAbort, { once: true });
  const takeBack = relaySignals?.((name) => {
    ending.deliver(name);
  });
  try {
    const exitCode = await endOf(child, runtime);
    throwIfAborted(signal, folder);
    if (ending.exitCode === undefined && exitCode !== 0) await throwIfNotStarted(runtime, folder);
    return ending.exitCode ?? exitCode;
  } finally {
    takeBack?.();
    ending.dispose();
    signal?.removeEventListener('abort', onAbort);
    await deleteContainer(runtime, folder);
    await watch.end();
  }
}

/** What kept the container's program from being started; nothing when it ran. */
async function throwIfNotStarted({ path }: Runtime, { log, pid }: ContainerFolder): Promise<void> {
  if ((await readFile(pid, 'utf8').catch(() => '')) !== '') return;
  const why = lastError(await readFile(log, 'utf8').catch(() => ''));
  if (why === null) return;
  if (!/\bexec\b/.test(why)) throw failure(why.includes('cgroup') ? 'MACHINE' : 'FAILED', path, why);
  const isMissing = /executable file not found|no such file or directory/.test(why);
  throw failure(isMissing ? 'NO_PROGRAM' : 'NOT_EXECUTABLE', path, why);
}

/** Of a log with a JSON document a line. */
function lastError(log: string): string | null {
  const messages = log.split('\n').flatMap((line) => {
    try {
      const { level, msg } = JSON.parse(line) as { level?: unknown; msg?: unknown };
      return level === 'error' && typeof msg === 'string' ? [msg] : [];
    } catch {
      return [];
    }
  });
  return messages.at(-1)?.replaceAll('\n', ' ') ?? null;
}

/** Deletes the container if there still is one, with all its processes. */
export async function deleteContainer(runtime: Runtime, folder: ContainerFolder): Promise<void> {
  await command(runtime, folder, ...deletion(folder));
}

function deletion({ id }: ContainerFolder): string[] {
  return ['delete', '--force', id];
}

/** How a container is brought to its end. */
class Ending {
  /** Of a container that was killed; undefined: it ends by itself. */
  exitCode: number | undefined;
  private first: NodeJS.Signals | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly child: ChildProcess,
    private readonly runtime: Runtime,
    private readonly folder: ContainerFolder,
  ) {}

  deliver(name: NodeJS.Signals): void {
    if (this.first !== undefined) {
      this.kill(this.first);
      return;
    }
    this.first = name;
    this.child.kill(name); // the runtime hands it on
    this.timer = setTimeout(() => {
      this.kill(name);
    }, patience);
  }

  kill(reason: NodeJS.Signals): void {
    this.exitCode ??= 128 + constants.signals[reason];
    void command(this.runtime, this.folder, 'kill', this.folder.id, 'KILL').then((worked) => {
      if (!worked) this.child.kill('SIGKILL'); // it has not come to a container yet, or not to one that can be named
    });
  }

  dispose(): void {
    clearTimeout(this.timer);
  }
}

function flagsOf(runtime: Runtime, folder: ContainerFolder): string[] {
  return [...runtime.flags, '--root', folder.runtime];
}

/** Whether a command of the runtime worked; what it prints is nobody's business. */
function command(runtime: Runtime, folder: ContainerFolder, ...args: string[]): Promise<boolean> {
  return new Promise((resolve) => {
    execFile(runtime.path, [...flagsOf(runtime, folder), ...args], (error) => {
      resolve(error === null);
    });
  });
}

function throwIfAborted(signal: AbortSignal | undefined, { id }: ContainerFolder): void {
  if (signal?.aborted === true) throw failure('CANCELLED', id, 'cancelled');
}

function endOf(child: ChildProcess, { path }: Runtime): Promise<number> {
  return new Promise((resolve, reject) => {
    child.on('error', ({ message }) => {
      reject(failure('MACHINE', path, message));
    });
    child.on('exit', (exitCode, signal) => {
      resolve(exitCode ?? 128 + constants.signals[signal!]);
    });
  });
}
