// Servers that contestants start: where they may listen, and when they answer.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const ATTEMPTS = 600;
const PAUSE = 50; // milliseconds

/** A port of the loopback address that nobody listens on. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Resolves when a server answers at `address`, as net.connect() takes it: a path, or host and port. */
export async function comesUp(address) {
  for (let i = 0; i < ATTEMPTS; i++) {
    if (await answers(address)) return;
    await sleep(PAUSE);
  }
  throw new Error(`nobody answers at ${JSON.stringify(address)}`);
}

function answers(address) {
  return new Promise((resolve) => {
    const socket = connect(address);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
