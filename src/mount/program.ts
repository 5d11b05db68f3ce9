import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/** Where programs for root are; a user's PATH may lack them. */
const rootFolders = ['/usr/local/sbin', '/usr/sbin', '/sbin'];
/** Milliseconds for a program to tell its version. */
const patience = 10_000;

/** The path of an installed program; null when there is none of that name. */
export async function findProgram(name: string): Promise<string | null> {
  const { PATH = '' } = process.env;
  const folders = [...PATH.split(delimiter), ...rootFolders];
  for (const path of folders.filter((folder) => folder.startsWith('/')).map((folder) => join(folder, name))) {
    if (await isProgram(path)) return path;
  }
  return null;
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

/** The first version number in what a program prints for `--version`; null when it can't be run or prints none. */
export function versionOf(program: string): Promise<string | null> {
  return new Promise((resolve) => {
    execFile(program, ['--version'], { timeout: patience, maxBuffer: 1 << 20 }, (_error, stdout, stderr) => {
      resolve(/\d+(\.\d+)+/.exec(`${stdout}\n${stderr}`)?.[0] ?? null);
    });
  });
}
