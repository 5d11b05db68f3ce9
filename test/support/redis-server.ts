import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port';

/** redis-server on 127.0.0.1, with an append-only file in a folder; it can be killed, and started again with what the disk has. */
export class RedisServer {
  private child: ChildProcess | undefined;

  private constructor(
    private readonly folder: string,
    readonly port: number,
    private readonly flags: string[],
  ) {}

  static async start(folder: string, ...flags: string[]): Promise<RedisServer> {
    await mkdir(folder, { recursive: true });
    const server = new RedisServer(folder, await freePort(), flags);
    await server.start();
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const own = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.folder, '--save', ''];
    const persistence = ['--appendonly', 'yes', '--appendfsync', 'everysec'];
    this.child = spawn('redis-server', [...own, ...persistence, ...this.flags], { stdio: 'ignore' });
    for (let attempts = 0; !(await isOpen(this.port)); attempts++) {
      if (attempts > 200) throw new Error('redis-server does not answer');
      await sleep(50);
    }
  }

  /** As a machine that loses its power: nothing is written any more. */
  async kill(): Promise<void> {
    const { child } = this;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (open: boolean) => () => {
      socket.destroy();
      resolve(open);
    };
    socket.once('connect', end(true)).once('error', end(false));
  });
}
