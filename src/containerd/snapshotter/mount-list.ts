import type { WireMount } from '../wire';

/** An image must not say where its files are found, as an overlay's own upper folder may: the kernel would follow it into other layers. */
const overlayOptions = ['index=off', 'redirect_dir=nofollow', 'metacopy=off'];
/** But where there are folders of data alone, files say where in those their data is. */
const dataOptions = ['index=off', 'redirect_dir=on', 'metacopy=on'];

/** Folders of a snapshot. */
interface SnapshotFolders {
  /** Of the layers below, the uppermost first, none twice. */
  lower: readonly string[];
  /** That only the data of files is taken from, in the order in which they are asked (Linux 6.5). */
  data?: readonly string[] | undefined;
  /** What is written goes there; null of a view. */
  upper: string | null;
  work: string;
  /** Of a view of nothing. */
  empty: string;
}

/** What containerd is to mount for a snapshot, in forms that any containerd knows. */
export function mountList({ lower, data = [], upper, work, empty }: SnapshotFolders): WireMount[] {
  if (lower.length === 0) return [bind(upper ?? empty, upper === null ? 'ro' : 'rw')];
  if (upper === null && lower.length === 1 && data.length === 0) return [bind(lower[0]!, 'ro')];
  const writable = upper === null ? [] : [`upperdir=${upper}`, `workdir=${work}`];
  const folders = [lower.join(':'), ...data].join('::');
  const fixed = data.length === 0 ? overlayOptions : dataOptions;
  const options = [...fixed, ...writable, `lowerdir=${folders}`];
  return [{ type: 'overlay', source: 'overlay', options }];
}

function bind(source: string, mode: 'ro' | 'rw'): WireMount {
  return { type: 'bind', source, options: ['rbind', mode] };
}
