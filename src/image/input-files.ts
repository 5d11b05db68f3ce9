import { join } from 'node:path';
import type { InputFile } from '../fs/same-file';
import type { Reference } from '../oci/reference';
import { blobPath } from '../store/layout/source';
import type { ImageSet } from './image-set';

/** A file that a user named. */
export function inputFile(path: string): InputFile {
  return path === '-' ? { fd: 0, name: 'standard input' } : { path };
}

/** The local files that an image is read from: what is written must not take their place. */
export function inputFiles(source: Reference, { descriptor, images, others }: ImageSet): InputFile[] {
  if (source.transport === 'oci') {
    const blobs = images.flatMap(({ manifest }) => [manifest.config, ...manifest.layers]);
    const all = [descriptor, ...images.map((image) => image.descriptor), ...others, ...blobs];
    const names = ['oci-layout', 'index.json', ...all.map(blobPath)];
    return [...new Set(names)].map((name) => ({ path: join(source.path, name) }));
  }
  if (source.transport !== 'oci-archive' && source.transport !== 'docker-archive') return [];
  return [inputFile(source.path)];
}
