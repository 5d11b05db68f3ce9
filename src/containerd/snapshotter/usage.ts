import { lstat, readdir } from 'node:fs/promises';
import type { Usage } from './snapshot';

const blockSize = 512; // of st_blocks, whatever the file system has

/** What a folder and all below it take on disk; files with several names count once. What is gone meanwhile counts nothing. */
export async function usageOf(folder: string): Promise<Usage> {
  const seen = new Set<number>();
  const usage = { size: 0, inodes: 0 };
  const waiting = [Buffer.from(folder)]; // names need not be UTF-8
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const status = await lstat(path).catch(() => null);
    if (status === null || seen.has(status.ino)) continue;
    seen.add(status.ino);
    usage.inodes++;
    usage.size += status.blocks * blockSize;
    if (!status.isDirectory()) continue;
    const names = await readdir(path, { encoding: 'buffer' }).catch(() => []);
    for (const name of names) waiting.push(Buffer.concat([path, Buffer.from('/'), name]));
  }
  return usage;
}
