import { readFile, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { parseMountinfo } from '../../fs/mountinfo';

/** How an entry of a cache ends, whatever path a mount knows it by. */
const entryName = /\/(sha256|sha512)\/[0-9a-f]{2}\/([0-9a-f]{64,128})\.erofs(?: \(deleted\))?$/;

/**
 * The DiffIDs of entries of a cache that EROFS is mounted from, in any namespace that this process sees, or that a loop device has. A
 * server counts who has its files open, but not what was opened before it took over.
 */
export async function entriesInUse(): Promise<Set<string>> {
  const files = [...(await loopFiles()), ...(await erofsSources())];
  return new Set(
    files.flatMap((file) => {
      const [, algorithm, hex] = entryName.exec(file) ?? [];
      return hex === undefined ? [] : [`${algorithm!}:${hex}`];
    }),
  );
}

async function loopFiles(): Promise<string[]> {
  const names = (await namesIn('/sys/block')).filter((name) => name.startsWith('loop'));
  const files = await Promise.all(names.map((name) => textOf(join('/sys/block', name, 'loop/backing_file'))));
  return files.map((file) => file.trim());
}

/** What EROFS is mounted from, in each mount namespace that has a process. */
async function erofsSources(): Promise<string[]> {
  const processes = (await namesIn('/proc')).filter((name) => /^\d+$/.test(name));
  const seen = new Set<string>();
  const sources: string[] = [];
  for (const id of processes) {
    const namespace = await readlink(`/proc/${id}/ns/mnt`).catch(() => null); // it has ended, or is none of ours
    if (namespace === null || seen.has(namespace)) continue;
    seen.add(namespace);
    const mounts = parseMountinfo(await textOf(`/proc/${id}/mountinfo`));
    sources.push(...mounts.filter(({ type }) => type === 'erofs').map(({ source }) => source));
  }
  return sources;
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

async function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
