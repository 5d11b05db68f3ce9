import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

const program = resolve(__dirname, '../../../dist/cli/main.js');

/** How a process ended. */
export interface Ending {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  stderr: string;
}

/** The program while it runs. */
export interface Running {
  child: ChildProcess;
  ended: Promise<Ending>;
  /** Resolves when stderr matches; rejects when the program ends before. */
  saw(pattern: RegExp): Promise<void>;
  /** CPU seconds of all its threads so far; null once it has ended. */
  cpuSeconds(): number | null;
}

/** Starts the program; stdout is thrown away. */
export function startCli(args: string[], cwd: string): Running {
  const child = spawn(process.execPath, [program, ...args], { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  const watchers = new Set<() => void>();
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    for (const watcher of watchers) watcher();
  });
  const ended = new Promise<Ending>((done, fail) => {
    child.on('error', fail);
    child.on('close', (exitCode, signal) => {
      done({ exitCode, signal, stderr });
    });
  });
  const saw = (pattern: RegExp): Promise<void> =>
    new Promise((done, fail) => {
      const look = (): void => {
        if (!pattern.test(stderr)) return;
        watchers.delete(look);
        done();
      };
      watchers.add(look);
      look();
      void ended.then(() => {
        fail(new Error(`it ended before ${pattern.source} was seen: ${stderr}`));
      }, fail);
    });
  return { child, ended, saw, cpuSeconds: () => cpuSecondsOf(child.pid ?? 0) };
}

/** Of the process as the kernel counts it, in hundredths of a second (proc_pid_stat(5), utime and stime). */
function cpuSecondsOf(pid: number): number | null {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return null;
  }
}
