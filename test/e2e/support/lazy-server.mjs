// `seekable-erofs serve` for a test, with its doors to containerd.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync, readdirSync } from 'node:fs';
import { createConnection } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
const START_TIME = 30_000;

/** The program that is tested. */
export function program() {
  const { bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  return process.env.SEEKABLE_EROFS_CLI ?? join(ROOT, bin['seekable-erofs']);
}

/** Starts it, with everything in `directory`; `sockets` has its flags for sockets, by which it is known to be there. */
export async function startServer(directory, sockets, flags = []) {
  const server = new LazyServer(directory, sockets, flags);
  await server.start();
  return server;
}

class LazyServer {
  #child;

  constructor(directory, sockets, flags) {
    this.directory = directory;
    this.sockets = sockets;
    this.flags = flags;
  }

  get state() {
    return join(this.directory, 'seekable');
  }

  /** What is kept of layers. */
  get content() {
    return join(this.state, 'content');
  }

  /** Folders of snapshots. */
  get layers() {
    return join(this.content, 'containerd', 'l');
  }

  get log() {
    return readFileSync(join(this.directory, 'serve.log'), 'utf8');
  }

  async start() {
    const log = openSync(join(this.directory, 'serve.log'), 'a');
    const sockets = Object.entries(this.sockets).flatMap(([name, path]) => [`--${name}`, path]);
    const args = ['serve', '--state', this.state, '--background', 'off', ...sockets, ...this.flags];
    this.#child = spawn(process.execPath, [program(), ...args], { stdio: ['ignore', log, log] });
    await this.comesUp();
  }

  /** Resolves when its sockets are answered. */
  async comesUp() {
    for (const deadline = Date.now() + START_TIME; Date.now() < deadline;) {
      const answers = await Promise.all(Object.values(this.sockets).map(isAnswered));
      if (answers.every((answer) => answer)) return;
      if (this.#child.exitCode !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`serve did not come up\n${this.log}`);
  }

  /** As `kill -9` ends one of its processes. */
  killPart(part) {
    for (const pid of this.processes(part)) process.kill(Number(pid), 'SIGKILL');
  }

  /** Processes of it whose command line names `part`: the keeper is `serve`, its children are `server-main` and `door-main`. */
  processes(part) {
    return readdirSync('/proc').filter((pid) => {
      if (!/^\d+$/.test(pid)) return false;
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return line.includes(part) && line.includes(this.state);
      } catch {
        return false;
      }
    });
  }

  /** As `kill -9` ends it: the process itself, which restarts its children; with `all`, these as well. */
  async kill({ all = false } = {}) {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
    if (!all) return;
    for (const pid of [...this.processes('server-main'), ...this.processes('door-main')])
      process.kill(Number(pid), 'SIGKILL');
  }

  async stop() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await ended;
  }
}

function isAnswered(path) {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
