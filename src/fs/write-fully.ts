import { write } from 'node:fs';
import { promisify } from 'node:util';

const writeFd = promisify(write);

/** Writes all of `bytes` at `offset` of an open file, however little the system takes at once. Errors are the system's own. */
export async function writeFully(fd: number, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += (await writeFd(fd, bytes, done, bytes.length - done, offset + done)).bytesWritten;
  }
}
