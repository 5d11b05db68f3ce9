import { showBytes } from '../../format/escaped-path';

/** What of a path differs; `links` is which names belong to one file, and how many the file says it has. */
export type DifferenceField =
  | 'missing'
  | 'extra'
  | 'type'
  | 'mode'
  | 'uid'
  | 'gid'
  | 'mtime'
  | 'size'
  | 'content'
  | 'target'
  | 'rdev'
  | 'xattrs'
  | 'links';

/** A value as `ls --json` has it; of xattrs, those that differ; null where there is none. */
export type DifferenceValue = string | number | null | Record<string, string>;

/** Something that the conversion should have kept and didn't. */
export interface Difference {
  /** Position of the layer in its image, from 0; absent when two files are compared. */
  layer?: number;
  /** Bytes outside of printable ASCII, and the backslash, as `\xNN`. */
  path: string;
  field: DifferenceField;
  /** By the source, and in what was converted. */
  expected: DifferenceValue;
  actual: DifferenceValue;
}

/** What is kept of differences: beyond that, a conversion went wrong as a whole, and they are only counted. */
const defaultMaxDifferences = 100;

/** Gathers differences. */
export class DifferenceList {
  /** Of all differences, listed or not. */
  count = 0;
  private layer: number | undefined;
  private readonly found: { path: string; difference: Difference }[] = [];

  /** @param max how many are listed */
  constructor(private readonly max = defaultMaxDifferences) {}

  /** What follows is of this layer. */
  enterLayer(layer: number): void {
    this.layer = layer;
  }

  /** @param path a byte string, `/` for the root */
  add(path: string, field: DifferenceField, expected: DifferenceValue, actual: DifferenceValue): void {
    if (++this.count > this.max) return;
    const layer = this.layer === undefined ? {} : { layer: this.layer };
    this.found.push({ path, difference: { ...layer, path: showBytes(path), field, expected, actual } });
  }

  /** By layer, then by the path's bytes. */
  list(): Difference[] {
    const layerOf = ({ difference }: { difference: Difference }): number => difference.layer ?? 0;
    const order = [...this.found].sort(
      (a, b) => layerOf(a) - layerOf(b) || (a.path < b.path ? -1 : Number(a.path > b.path)),
    );
    return order.map(({ difference }) => difference);
  }
}
