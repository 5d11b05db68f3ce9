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
  const ranges = reads.map((read) => Float64Array.from(read.ranges.flat()));
  const hash = createHash('sha256');
  for (const [i, path] of paths.entries()) {
    hash.update(`${path.length} ${ranges[i]!.length} `).update(path).update(ranges[i]!.join(' '));
  }
  return { paths, ranges, key: hash.digest('hex') };
}
