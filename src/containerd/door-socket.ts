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
    const server = createServer({ pauseOnConnect: true }, onConnection);
    const isThere = await new Promise<boolean>((resolve) => {
      server.once('error', () => {
        resolve(false);
      });
      server.listen({ fd }, () => {
        resolve(true);
      });
    });
    if (isThere && server.address() === path) return server;
    server.close();
  }
  return null;
}
