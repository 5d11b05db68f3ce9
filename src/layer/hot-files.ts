import { createHash } from 'node:crypto';
import { unescapePath } from '../format/escaped-path';
import type { Trace } from '../format/trace';

/** Files whose data goes to the hot part of an image (native/erofs/hot.h), in the order of first use. */
export interface HotFiles {
  /** From the root, as bytes, without the slash before them. */
  paths: readonly Uint8Array[];
  /** Of each: offsets and lengths in turn. */
  ranges: readonly Float64Array[];
  /** Same key, same list. */
  key: string;
}

/** What a trace says of any layer. */
export function hotFilesOf({ reads }: Trace): HotFiles {
  const paths = reads.map(({ path }) => unescapePath(path.slice(1)));
  return keyed(
    paths,
    reads.map((read) => Float64Array.from(read.ranges.flat())),
  );
}

/** The list without some of its files, which are named by their places in it. */
export function withoutFiles(files: HotFiles, left: ReadonlySet<number>): HotFiles {
  if (left.size === 0) return files;
  const isKept = (_: unknown, i: number): boolean => !left.has(i);
  return keyed(files.paths.filter(isKept), files.ranges.filter(isKept));
}

function keyed(paths: readonly Uint8Array[], ranges: readonly Float64Array[]): HotFiles {
  const hash = createHash('sha256');
  for (const [i, path] of paths.entries()) {
    hash.update(`${path.length} ${ranges[i]!.length} `).update(path).update(ranges[i]!.join(' '));
  }
  return { paths, ranges, key: hash.digest('hex') };
}
