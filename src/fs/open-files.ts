import { readFileSync } from 'node:fs';

/** What POSIX systems give at least, nearly always. */
const usualLimit = 1024;

/** How many files this process may have open; Node raises its limit as far as it may. */
export function openFilesLimit(read: () => string = readLimits): number {
  const [, text] = /^Max open files\s+(\S+)/m.exec(read()) ?? [];
  if (text === 'unlimited') return Infinity;
  const limit = Number(text);
  return Number.isSafeInteger(limit) && limit > 0 ? limit : usualLimit;
}

function readLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'latin1');
  } catch {
    return '';
  }
}
