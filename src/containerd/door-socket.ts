import { once } from 'node:events';
import { readFile, readlink } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { failure } from '../errors';
import { connectTo, listenOn } from '../lazy/socket';

/** One that is ending may still have the socket for so long; in milliseconds. */
const takeTime = 5000;
const pause = 50;
/** systemd's first (sd_listen_fds(3)). */
const firstPassed = 3;

/**
 * Listens on a Unix socket for this user alone, or on one of that path that systemd has passed. A socket that nobody listens on any more is replaced.
 * Connections are paused: nothing of them is read here.
 * @throws FAILED when somebody listens there, IO
 */
export async function listenForDoor(path: string, onConnection: (socket: Socket) => void): Promise<Server> {
  const passed = await passedSocket(path, onConnection);
  if (passed !== null) return passed;
  await waitUntilFree(path);
  return listenOn(path, onConnection, { pauseOnConnect: true });
}

async function waitUntilFree(socket: string): Promise<void> {
  for (const deadline = performance.now() + takeTime; performance.now() < deadline;) {
    const connected = await connectTo(socket);
    if (connected === null) return;
    connected.destroy();
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  throw failure('FAILED', socket, 'somebody listens on this socket already', 'end that, or give another');
}

/** Null when systemd has passed none of this path. */
async function passedSocket(path: string, onConnection: (socket: Socket) => void): Promise<Server | null> {
  const { LISTEN_PID, LISTEN_FDS } = process.env;
  const count = LISTEN_PID === `${process.pid}` ? Number(LISTEN_FDS) : 0;
  for (let fd = firstPassed; fd < firstPassed + count; fd++) {
    if ((await pathOf(fd)) !== path) continue;
    const server = createServer({ pauseOnConnect: true }, onConnection);
    server.listen({ fd });
    await once(server, 'listening').catch((error: unknown) => {
      throw failure('FAILED', path, `what systemd has passed is no listening socket: ${String(error)}`);
    });
    return server;
  }
  return null;
}

/** Where a Unix socket is bound to; Node does not tell. Null for anything else. */
async function pathOf(fd: number): Promise<string | null> {
  const [, inode] = /^socket:\[(\d+)\]$/.exec(await readlink(`/proc/self/fd/${fd}`).catch(() => '')) ?? [];
  if (inode === undefined) return null;
  // Num RefCount Protocol Flags Type St Inode Path
  const lines = (await readFile('/proc/net/unix', 'utf8')).split('\n').slice(1);
  for (const line of lines) {
    const [, found, path] = /^(?:\S+ +){6}(\d+) (.*)$/.exec(line) ?? [];
    if (found === inode) return path!;
  }
  return null;
}
