import type { JobOptions } from '../job';
import { native, type NativeSource, type TarBatch } from './binding';
import { reading } from './native-error';
import { runNative } from './run';

/** In the order of `tar::EntryType`. */
const types = ['file', 'hardlink', 'symlink', 'char', 'block', 'dir', 'fifo'] as const;

/** One entry of a tar, as its headers have it. Strings have one character (0–255) a byte. */
export interface TarEntry {
  type: (typeof types)[number];
  /** Raw: nothing is normalised, a trailing slash is kept. */
  name: string;
  /** Of links; '' of others. */
  target: string;
  /** Permission bits, 07777 at most. */
  mode: number;
  uid: number;
  gid: number;
  /** The mtime: the floor of its seconds, and the nanoseconds above that. */
  seconds: bigint;
  nanoseconds: number;
  /** Device numbers. */
  major: number;
  minor: number;
  /** Of a file, holes included. */
  size: number;
  /** Three numbers for each piece of a file's data: offset in the file, offset in the tar, length. Between them are holes. */
  data: number[];
  /** Name and value of each. */
  xattrs: [name: string, value: string][];
}

/**
 * The entries of a tar in batches of some thousand, read one batch ahead; file data is not touched. CORRUPT and REFUSED name the entry.
 * @param name what progress is reported on, and errors are about
 */
export async function* readTarEntries(
  tar: NativeSource,
  options: JobOptions,
  name?: string,
): AsyncGenerator<TarEntry[]> {
  const reader = new native.TarReader(tar);
  const next = (): Promise<TarBatch | null> => {
    const batch = runNative(options, (job) => reader.next(job), name);
    return name === undefined ? batch : reading(name, batch);
  };
  for (let batch = await next(); batch !== null;) {
    const ahead = next();
    ahead.catch(() => undefined); // reported when it is awaited, unless the caller stops before
    yield entriesOf(batch);
    batch = await ahead;
  }
}

/** Shared by all that have none: there may be millions. */
const noData: number[] = [];

function entriesOf(batch: TarBatch): TarEntry[] {
  let range = 0;
  let xattr = 0;
  return batch.names.map((name, i) => {
    const firstRange = range;
    range += 3 * batch.rangeCounts[i]!;
    const xattrs: TarEntry['xattrs'] = [];
    for (let left = batch.xattrCounts[i]!; left > 0; left--, xattr += 2) {
      xattrs.push([batch.xattrs[xattr]!, batch.xattrs[xattr + 1]!]);
    }
    return {
      type: types[batch.types[i]!]!,
      name,
      target: batch.targets[i]!,
      mode: batch.modes[i]!,
      uid: batch.uids[i]!,
      gid: batch.gids[i]!,
      seconds: batch.seconds[i]!,
      nanoseconds: batch.nanoseconds[i]!,
      major: batch.majors[i]!,
      minor: batch.minors[i]!,
      size: batch.sizes[i]!,
      data: range === firstRange ? noData : Array.from(batch.ranges.subarray(firstRange, range)),
      xattrs,
    };
  });
}
