import { constants } from 'node:fs';
import { open, rm, type FileHandle } from 'node:fs/promises';
import { connect, createServer, type Server, type ServerOpts, type Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { fromSystemError } from '../errors';

/** Bytes of a Unix socket's address, less the zero at its end. */
const maxAddress = 107;

/** An address of a socket's path that the kernel takes, however long the path is: by the descriptor of its folder. */
async function addressOf(path: string): Promise<{ address: string; folder: FileHandle | null }> {
  if (Buffer.byteLength(path) <= maxAddress) return { address: path, folder: null };
  const folder = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  return { address: `/proc/self/fd/${folder.fd}/${basename(path)}`, folder };
}

/** Listens on a socket for this user alone, in the place of what was there. */
export async function listenOn(
  path: string,
  onConnection: (socket: Socket) => void,
  options: ServerOpts = {},
): Promise<Server> {
  await rm(path, { force: true });
  const { address, folder } = await addressOf(path);
  const server = createServer(options, onConnection);
  server.once('close', () => void folder?.close());
  const previous = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(address, resolve);
    });
    return server;
  } catch (error) {
    await folder?.close();
    throw fromSystemError(path, error);
  } finally {
    process.umask(previous);
  }
}

/** Null when nobody listens there. Errors after that are in `closed` alone. */
export async function connectTo(path: string): Promise<Socket | null> {
  const found = await addressOf(path).catch(() => null); // its folder is not there either
  if (found === null) return null;
  const socket = await new Promise<Socket | null>((resolve) => {
    const connecting = connect(found.address);
    connecting.once('connect', () => {
      resolve(connecting);
    });
    connecting.on('error', () => {
      resolve(null);
    });
  });
  await found.folder?.close();
  return socket;
}
