import type { ListedEntry } from '../index';
import { table } from './text';

const typeLetters = {
  file: '-',
  dir: 'd',
  symlink: 'l',
  char: 'c',
  block: 'b',
  fifo: 'p',
  socket: 's',
} as const;

/** Entries that are aligned together. */
const batchLength = 512;

/**
 * A listing like that of `ls -l`: whole paths, or names only. Times are in UTC. Lines come in batches of one size, so that the same listing is
 * always the same text; columns are as wide as all that came before needs.
 */
export async function* listingLines(
  entries: AsyncIterable<ListedEntry> | Iterable<ListedEntry>,
  wholePaths: boolean,
): AsyncGenerator<string[], void, undefined> {
  const widths: number[] = [];
  const lines = (batch: readonly ListedEntry[]): string[] =>
    table(rowsOf(batch, wholePaths), [1, 2, 3, 4], widths);
  let batch: ListedEntry[] = [];
  for await (const entry of entries) {
    batch.push(entry);
    if (batch.length < batchLength) continue;
    yield lines(batch);
    batch = [];
  }
  yield lines(batch);
}

function rowsOf(entries: readonly ListedEntry[], wholePaths: boolean): string[][] {
  return entries.map((entry) => {
    const { path, mode, type, nlink, uid, gid, size, rdev, mtime, target } = entry;
    const name = wholePaths ? path : path.slice(path.lastIndexOf('/') + 1) || '/';
    return [
      typeLetters[type] + permissions(parseInt(mode, 8)),
      ...[`${nlink}`, `${uid}`, `${gid}`, rdev ?? `${size}`, formatTime(mtime)],
      target === null ? name : `${name} -> ${target}`,
    ];
  });
}

/** `rwxr-sr-t`. */
function permissions(mode: number): string {
  const letters = Array.from('rwxrwxrwx', (letter, bit) => ((mode >> (8 - bit)) & 1 ? letter : '-'));
  const special: [number, number, string][] = [
    [0o4000, 2, 's'],
    [0o2000, 5, 's'],
    [0o1000, 8, 't'],
  ];
  for (const [bit, place, letter] of special) {
    if ((mode & bit) !== 0) letters[place] = letters[place] === 'x' ? letter : letter.toUpperCase();
  }
  return letters.join('');
}

/** `2026-11-24 13:08:06`; seconds since 1970 where no calendar of JavaScript's reaches. */
function formatTime(mtime: string): string {
  const seconds = mtime.slice(0, mtime.indexOf('.'));
  const date = new Date(Number(seconds) * 1000);
  return Number.isNaN(date.getTime()) ? `${seconds} s` : date.toISOString().replace('T', ' ').slice(0, -5);
}
