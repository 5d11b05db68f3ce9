import { readList, writeList } from '../list-file';
import type { LazyLayerRequest } from '../messages';

/** A layer as the cache shows it. */
export interface CachedLayer {
  /** The name that it has there: the DiffID that an image says, of a tar perhaps. */
  name: string;
  /** What is served under it; `diffId` is that of the EROFS image. */
  request: LazyLayerRequest;
}

/** An image whose layers the cache shows. */
export interface CachedImage {
  reference: string;
  /** Of what the reference named. */
  digest: string;
  layers: CachedLayer[];
  /** When somebody asked for it, or it was seen mounted; in milliseconds, as of Date.now(). */
  lastUse: number;
}

const format = { version: 1, name: 'images' };

/** The images of a list, as readList(). */
export function readImages(path: string): Promise<CachedImage[]> {
  return readList(path, format);
}

/** As writeList(). */
export function writeImages(path: string, images: readonly CachedImage[]): Promise<void> {
  return writeList(path, format, images);
}
