import { once } from 'node:events';
import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { release } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { native } from '../native/binding';
import type { LazyFolder } from './lazy-folder';
import { LazyConnection } from './messages';
import { connectTo } from './socket';

/** Descriptor of the FUSE device in the server, after its standard ones and that of its messages. */
export const deviceDescriptor = 4;

/** Longer than any chunk takes to be written and synced; in milliseconds. */
const endTime = 10_000;

/** An open /dev/fuse. */
export interface FuseDevice {
  fd: number;
  close(): void | Promise<void>;
}

/**
 * Takes the FUSE mount of a server whose keeper was killed, and ends that server: the next one goes on with its layers. Null where there is none,
 * or the kernel can't repeat its requests for another.
 */
export async function takeOrphan(folder: LazyFolder): Promise<FuseDevice | null> {
  if (!canTakeOver()) return null;
  const socket = await connectTo(folder.socket);
  if (socket === null) return null;
  const server = new LazyConnection(socket);
  try {
    const { pid } = await server.call('status', {});
    const fd = native.sys.takeDescriptor(pid, deviceDescriptor);
    await end(pid, socket);
    return {
      fd,
      close: () => {
        closeSync(fd);
      },
    };
  } catch {
    return null; // it has ended meanwhile, or is of a release that says other things
  } finally {
    server.close();
  }
}

/** Whether the kernel repeats for a server what it asked of the one before: Linux 6.9. */
export function canTakeOver(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return major > 6 || (major === 6 && minor >= 9);
}

/** Its socket is closed when it has ended. */
async function end(pid: number, socket: Socket): Promise<void> {
  const ended = once(socket, 'close');
  process.kill(pid, 'SIGTERM');
  const isLate = await Promise.race([ended.then(() => false), sleep(endTime, true, { ref: false })]);
  if (isLate) process.kill(pid, 'SIGKILL');
  await ended;
}
