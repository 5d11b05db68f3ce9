import { getSystemErrorName } from 'node:util';

/** A file that was opened for reading. */
interface OpenedFile {
  /** The caller's to close. */
  fd: number;
  /** A regular one. */
  isFile: boolean;
  /** Bytes: now, and a moment before it was opened. */
  size: number;
  before: number;
}

/**
 * What takes several system calls on files, as one call on another thread (native/sys/files.h): waiting for a thread costs more than what
 * most of these do there. Errors are as Node's own, with `code`, and `path` says which name they are about. Descriptors are the caller's to close.
 */
export interface NativeFiles {
  /** The folder `names` inside of `root`, no symbolic link followed there (ELOOP, ENOTDIR). `make`: what is missing is made. */
  openFolder: (root: string, names: readonly string[], make: boolean) => Promise<number>;
  /** ELOOP for a symbolic link that is not to be followed. */
  openToRead: (path: string, followLink: boolean) => Promise<OpenedFile>;
  /** A new file with these bytes, synced. EEXIST; after another failure there is none. */
  writeFile: (path: string, bytes: Uint8Array) => Promise<void>;
  /** Makes the names in a folder last, where the file system can do that, and the folder may be read. */
  syncFolder: (path: string) => Promise<void>;
  /** flock(2) on the file at `path`, made if need be; null while another holds it. */
  lockFile: (path: string, mode: number) => Promise<number | null>;
  /** Closes the file, and removes its name if that is still its own. */
  unlockFile: (fd: number, path: string) => Promise<void>;
}

type Call = (...args: never[]) => Promise<unknown>;

/** The same calls, with errors as of Node's own. */
export function withNodeErrors(files: NativeFiles): NativeFiles {
  const entries = Object.entries(files) as [string, Call][];
  const converted = entries.map(([name, call]) => [
    name,
    (...args: never[]) =>
      call(...args).catch((error: unknown) => {
        throw asNodeError(name, error);
      }),
  ]);
  return Object.fromEntries(converted) as NativeFiles;
}

function asNodeError(call: string, error: unknown): unknown {
  const { errno, what, why } = error as { errno?: number; what?: string; why?: string };
  if (errno === undefined || what === undefined || why === undefined) return error;
  const code = getSystemErrorName(-errno);
  const message = `${code}: ${why.charAt(0).toLowerCase()}${why.slice(1)}, ${call} '${what}'`;
  return Object.assign(new Error(message), { code, errno: -errno, syscall: call, path: what });
}
