import { failure } from '../errors';

const units: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
};

/** Bytes from `4MiB`, `64KiB`, `4194304`, `100MB` …: a whole number and a unit. USAGE, about `what`, for anything else. */
export function parseByteSize(text: string, what = 'size'): number {
  const match = /^(\d+) ?([A-Za-z]*)$/.exec(text);
  const unit = match === null ? undefined : units[match[2]!];
  if (match === null || unit === undefined) {
    throw failure('USAGE', what, `"${text}" is no size`, 'write 4MiB, 64KiB or 4194304');
  }
  const size = Number(match[1]) * unit;
  if (!Number.isSafeInteger(size)) throw failure('USAGE', what, `"${text}" is beyond 2^53 - 1 bytes`);
  return size;
}

/** A size for people to read, with one decimal at most: `4 MiB`, `1.5 KiB`, `17 B`. */
export function formatByteSize(size: number): string {
  const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let power = 0;
  // 1023.95 would be shown as 1024.0: the next unit then.
  while (power < names.length - 1 && size / 1024 ** power >= 1023.95) power++;
  const shown = (size / 1024 ** power).toFixed(1).replace(/\.0$/, '');
  return `${shown} ${names[power]!}`;
}
