import { readFile } from 'node:fs/promises';
import { fromSystemError } from '../errors';

/** One mount of this process's namespace (proc(5), /proc/PID/mountinfo). */
export interface MountEntry {
  id: number;
  parent: number;
  /** `major:minor` of the file system. */
  device: string;
  target: string;
  type: string;
  source: string;
}

const file = '/proc/self/mountinfo';

/** Type of the lazy server's FUSE mount, wherever it is shown. */
export const lazyMountType = 'fuse.seekable-erofs';

/** All mounts that this process sees. */
export async function readMounts(): Promise<MountEntry[]> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw fromSystemError(file, error);
  });
  return parseMountinfo(text);
}

/** `ID PARENT MAJOR:MINOR ROOT TARGET OPTIONS [TAG…] - TYPE SOURCE OPTIONS`, blanks and backslashes in octal. Exported for its test. */
export function parseMountinfo(text: string): MountEntry[] {
  return text.split('\n').flatMap((line) => {
    const [head = '', tail] = line.split(' - ');
    if (tail === undefined) return [];
    const [id, parent, device = '', , target = ''] = head.split(' ');
    const [type = '', source = ''] = tail.split(' ');
    const entry = { id: Number(id), parent: Number(parent), device, type };
    return [{ ...entry, target: unescapeOctal(target), source: unescapeOctal(source) }];
  });
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)));
}

/** Mounts at `target`, the one that is seen first. Order in the file says nothing: each lies upon its parent. */
export function mountsAt(mounts: readonly MountEntry[], target: string): MountEntry[] {
  const here = mounts.filter((mount) => mount.target === target);
  const ordered: MountEntry[] = [];
  let top = here.find(({ id }) => !here.some(({ parent }) => parent === id));
  while (top !== undefined) {
    const { parent } = top;
    ordered.push(top);
    top = here.find(({ id }) => id === parent);
  }
  return ordered;
}

/** The mount that `path` is in, a real and absolute path; undefined where none is seen, as in some chroots. */
export function mountOf(mounts: readonly MountEntry[], path: string): MountEntry | undefined {
  const around = mounts.filter(
    ({ target }) => path === target || path.startsWith(target === '/' ? '/' : `${target}/`),
  );
  const longest = Math.max(...around.map(({ target }) => target.length));
  return mountsAt(mounts, around.find(({ target }) => target.length === longest)?.target ?? '')[0];
}
