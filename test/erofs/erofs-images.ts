import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** What mkfs.erofs made of one tree, and what a kernel showed of it; see golden/erofs-images/README.md. */
const folder = join(__dirname, '..', 'golden', 'erofs-images');
const metaboxFolder = join(__dirname, '..', 'golden', 'erofs-metabox');

/** An image of images.json. */
export interface GoldenImage {
  name: string;
  tree?: string;
  /** Of an image without recorded tree. */
  files?: Record<string, { sha256: string; size: number }>;
}

/** What a recorded tree says of an entry. */
export interface RecordedEntry {
  path: string;
  type: 'file' | 'dir' | 'symlink' | 'chr' | 'blk' | 'fifo';
  mode: string;
  uid: number;
  gid: number;
  nlink: number;
  mtime: string;
  size?: number;
  sha256?: string;
  target?: string;
  rdev?: [number, number];
  xattrs?: Record<string, string>;
  hardlink_of?: string;
}

export function goldenImages(): GoldenImage[] {
  const images = JSON.parse(readFileSync(join(folder, 'images.json'), 'utf8')) as Record<string, object>;
  return Object.entries(images).map(([name, image]) => ({ ...image, name }));
}

/** The bytes of a file that is kept compressed. */
export function goldenFile(name: string): Buffer {
  return gunzipSync(readFileSync(join(name.startsWith('metabox') ? metaboxFolder : folder, `${name}.gz`)));
}

export function recordedTree(name = 'ref.json'): RecordedEntry[] {
  const text = name === 'ref.json' ? readFileSync(join(folder, name)) : goldenFile(name);
  return JSON.parse(text.toString()) as RecordedEntry[];
}
