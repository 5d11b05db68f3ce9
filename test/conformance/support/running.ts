import { spawn, type ChildProcess } from 'node:child_process';
import { resolve } from 'node:path';

const program = resolve(__dirname, '../../../dist/cli/main.js');

/** How a process ended. */
export interface Ending {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  stderr: string;
  /** `performance.now()` of its end. */
  time: number;
}

/** The program while it runs. */
export interface Running {
  child: ChildProcess;
  ended: Promise<Ending>;
  /** Resolves when stderr matches, with `performance.now()`; rejects when the program ends before. */
  saw(pattern: RegExp): Promise<number>;
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
      done({ exitCode, signal, stderr, time: performance.now() });
    });
  });
  const saw = (pattern: RegExp): Promise<number> =>
    new Promise((done, fail) => {
      const look = (): void => {
        if (!pattern.test(stderr)) return;
        watchers.delete(look);
        done(performance.now());
      };
      watchers.add(look);
      look();
      void ended.then(() => {
        fail(new Error(`it ended before ${pattern.source} was seen: ${stderr}`));
      }, fail);
    });
  return { child, ended, saw };
}
