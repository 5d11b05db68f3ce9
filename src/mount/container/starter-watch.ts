import { spawn, type ChildProcess } from 'node:child_process';

/**
 * Reads process numbers, and ends with "end"; when its input ends without that, it kills the last process and runs a command. The kernel
 * closes the pipe of a process that was killed, so nothing keeps that from being seen.
 */
const script = `while read -r word; do [ "$word" = end ] && exit; last=$word; done
[ -n "$last" ] && kill -KILL "$last"
exec "$@"`;

/** Runs a command when this process ends, however that comes, unless end() was called before. */
export class StarterWatch {
  private readonly child: ChildProcess;
  private readonly ended: Promise<void>;

  constructor(command: readonly string[]) {
    // In a session of its own: signals for our process group are not for it.
    const stdio: ['pipe', 'ignore', 'ignore'] = ['pipe', 'ignore', 'ignore'];
    this.child = spawn('/bin/sh', ['-c', script, 'sh', ...command], { stdio, detached: true });
    this.child.stdin!.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      this.child.on('close', () => {
        resolve();
      });
      this.child.on('error', () => {
        resolve(); // without a shell there is no watch
      });
    });
  }

  /** A process that has to be killed before the command is run. */
  kills(pid: number | undefined): void {
    if (pid !== undefined) this.child.stdin!.write(`${pid}\n`);
  }

  async end(): Promise<void> {
    this.child.stdin!.end('end\n');
    await this.ended;
  }
}
