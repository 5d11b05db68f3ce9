import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const program = join(__dirname, '../../dist/cli/main.js');

/** What a worker says with `--progress json`. */
export interface WorkerLine {
  phase: 'image' | 'layer';
  state: string;
  item: string;
  error?: string;
}

/** `seekable-erofs worker` in a process of its own. */
export class WorkerProcess {
  readonly lines: WorkerLine[] = [];
  readonly warnings: string[] = [];
  private constructor(
    readonly child: ChildProcess,
    readonly ready: Promise<void>,
  ) {}

  /** @param onLine told of each event, as it is heard */
  static start(
    queue: string,
    flags: string[],
    { env = {}, onLine }: { env?: NodeJS.ProcessEnv; onLine?: (line: WorkerLine) => void } = {},
  ): WorkerProcess {
    const args = [program, 'worker', '--queue', queue, '--progress', 'json', ...flags];
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...env },
    });
    let isReady: () => void = () => undefined;
    const ready = new Promise<void>((resolve, reject) => {
      isReady = resolve;
      child.once('exit', (code) => {
        reject(new Error(`the worker ended with ${code}: ${worker.warnings.join('\n')}`));
      });
    });
    ready.catch(() => undefined); // perhaps nobody waits for it
    const worker = new WorkerProcess(child, ready);
    createInterface({ input: child.stderr }).on('line', (text) => {
      if (!text.startsWith('{')) {
        worker.warnings.push(text);
        if (text.includes('working on ')) isReady();
        return;
      }
      const line = JSON.parse(text) as WorkerLine;
      worker.lines.push(line);
      onLine?.(line);
    });
    return worker;
  }

  /** Its exit code; null when it was killed. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const { child } = this;
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill(signal);
      await ended;
    }
    return child.exitCode;
  }
}
