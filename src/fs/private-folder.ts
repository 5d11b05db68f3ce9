import type { Stats } from 'node:fs';
import { lstat, mkdir } from 'node:fs/promises';
import { failure, fromSystemError, type SeekableErofsError } from '../errors';

const othersWrite = 0o022;

/** Makes a folder with `mode` unless it is there, and its parents. USAGE when others could write to it, or own it. */
export async function makePrivateFolder(folder: string, mode: number): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode });
    if (isPrivate(await lstat(folder), process.geteuid?.())) return;
  } catch (error) {
    throw fromSystemError(folder, error);
  }
  throw notPrivate(folder, mode);
}

/** Whether it is a folder of `owner`, which nobody else can write to. */
export function isPrivate(status: Stats, owner: number | undefined): boolean {
  return status.isDirectory() && status.uid === owner && (status.mode & othersWrite) === 0;
}

/** What to say of a folder that is not private; `mode`: which one would be right. */
export function notPrivate(folder: string, mode: number): SeekableErofsError {
  const hint = `a folder of root, mode 0${mode.toString(8)}`;
  return failure('USAGE', folder, 'others could change what is mounted there', hint);
}
