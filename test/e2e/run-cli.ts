import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { commandOf } from './other-user';

const program = resolve(__dirname, '../../dist/cli/main.js');
const time = '/usr/bin/time';

export interface RunOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** Bytes for stdin; it is empty otherwise. */
  input?: Buffer;
  /** Runs as this user, who needs no way into the checkout. */
  uid?: number;
  /** Sends a signal once stderr matches. */
  signalAt?: { pattern: RegExp; signal: NodeJS.Signals };
  /** Closes our end of stdout after this many bytes, like `head -c`. */
  closeStdoutAfter?: number;
  /** Reads nothing of stdout: there may be much. */
  discardOutput?: boolean;
  /** Measures what it takes, with time(1). */
  measure?: boolean;
}

export interface Run {
  exitCode: number | null;
  /** The signal that killed the program, if one did. */
  signal: NodeJS.Signals | null;
  stdout: Buffer;
  stderr: string;
  /** Peak resident memory in bytes, when asked for; else 0. */
  peakMemory: number;
  /** CPU seconds, when asked for; else 0. How long it took by the clock would depend on what else runs on the machine. */
  cpuSeconds: number;
}

/** Runs the program as a user would, from dist/. */
export async function runCli(args: string[], options: RunOptions = {}): Promise<Run> {
  if (!existsSync(program)) throw new Error(`${program} is missing: npm run build`);
  const command = [...commandOf(options.uid), ...args];
  if (options.measure !== true) return collect(command, options);
  const folder = await mkdtemp(join(tmpdir(), 'run-cli-'));
  try {
    const report = join(folder, 'report');
    const run = await collect([time, '-q', '-f', '%M %U %S', '-o', report, ...command], options);
    const [kibibytes = 0, user = 0, system = 0] = (await readFile(report, 'utf8')).split(' ').map(Number);
    return { ...run, peakMemory: 1024 * kibibytes, cpuSeconds: user + system };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Runs with `--json` and returns the document too. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller knows what the command prints
export async function runJson<T>(args: string[], options: RunOptions = {}): Promise<Run & { document: T }> {
  const run = await runCli([...args, '--json'], options);
  try {
    return { ...run, document: JSON.parse(run.stdout.toString()) as T };
  } catch {
    throw new Error(`no JSON document on stdout: ${run.stdout.toString()}\nstderr: ${run.stderr}`);
  }
}

/** Runs what must succeed with `--json` and returns its document. */
export async function documentOf<T>(args: string[], options: RunOptions = {}): Promise<T> {
  const run = await runJson<T>(args, options);
  if (run.exitCode !== 0) throw new Error(`${args.join(' ')}: exit ${run.exitCode}: ${run.stderr}`);
  return run.document;
}

async function collect([file = '', ...args]: string[], options: RunOptions): Promise<Run> {
  const { cwd, uid, input, discardOutput = false } = options;
  const child = spawn(file, args, {
    stdio: ['pipe', discardOutput ? 'ignore' : 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', ...options.env },
    ...(cwd === undefined ? {} : { cwd }),
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  child.stdin!.on('error', () => undefined);
  child.stdin!.end(input);
  const stdout: Buffer[] = [];
  let received = 0;
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout.push(chunk);
    received += chunk.length;
    if (options.closeStdoutAfter !== undefined && received >= options.closeStdoutAfter)
      child.stdout?.destroy();
  });
  const stderr = watchStderr(child, options);
  const [exitCode, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((done, fail) => {
    child.on('error', fail);
    child.on('close', (code, name) => {
      done([code, name]);
    });
  });
  return { exitCode, signal, stdout: Buffer.concat(stdout), stderr: stderr(), peakMemory: 0, cpuSeconds: 0 };
}

function watchStderr(child: ChildProcess, { signalAt }: RunOptions): () => string {
  let text = '';
  let sent = false;
  child.stderr!.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    if (signalAt === undefined || sent || !signalAt.pattern.test(text)) return;
    sent = true;
    child.kill(signalAt.signal);
  });
  return () => text;
}
