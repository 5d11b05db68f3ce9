import { writeErofs, type ErofsEntry } from '../erofs-writer';
import type { VectorLayer } from './layers';

/** An image, and what a reader must do with it. */
export interface Vector {
  name: string;
  /** Sections of the draft. */
  section: string;
  about: string;
  layers: VectorLayer[];
  /** What is seen of a good one; null of a bad one, which must be refused. */
  tree: ErofsEntry[] | null;
  /** What is broken, as this package calls it; null of a good one. */
  rule: string | null;
  /** The config's DiffIDs where they are not those of the layers; null: no list, `none`: no rootfs. */
  diffIds?: string[] | null | 'none';
  /** More of what a reader needs: `data-only`: overlayfs with data-only layers. */
  needs?: 'data-only';
}

export const lower = { role: 'overlay-lower' };
export const data = { role: 'overlay-data' };
export const device = { role: 'device' };
export const file = (path: string, content: string, more: Partial<ErofsEntry> = {}): ErofsEntry => ({
  path,
  content,
  ...more,
});

/** More than one chunk of 4096 bytes. */
export const text = Array.from({ length: 700 }, (_, i) => `line ${i} of a text\n`).join('');
export const sample: ErofsEntry[] = [
  { path: '', type: 'dir', mode: 0o755, mtime: 1_700_000_000 },
  { path: 'etc', type: 'dir', mode: 0o755, mtime: 1_700_000_000 },
  file('etc/hosts', '127.0.0.1 localhost\n', { mode: 0o644, uid: 1, gid: 2, mtime: 1_600_000_000 }),
  file('text', text, { xattrs: { 'user.note': 'kept' } }),
  file('empty', ''),
  { path: 'link', target: 'etc/hosts' },
];
export const sampleImage = writeErofs(sample);
export const top = [file('top', 'of the top layer\n')];
export const topImage = writeErofs(top);

/** Those that were added. */
export const vectors: Vector[] = [];
type Rest = Partial<Omit<Vector, 'name' | 'section' | 'about' | 'layers' | 'tree' | 'rule'>>;
export function good(
  name: string,
  section: string,
  about: string,
  layers: VectorLayer[],
  tree: ErofsEntry[] = sample,
  rest: Rest = {},
): void {
  vectors.push({ name, section, about, layers, tree, rule: null, ...rest });
}
export function bad(
  name: string,
  section: string,
  about: string,
  rule: string,
  layers: VectorLayer[],
  rest: Rest = {},
): void {
  vectors.push({ name, section, about, layers, tree: null, rule, ...rest });
}

