import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { tarHeader } from '../../support/tar-bytes';

/** A tar of one file that is a hole on the disk. */
export function writeSparseTar(path: string, size: number): void {
  const file = openSync(path, 'w');
  writeSync(file, tarHeader({ name: 'hole' }, size));
  ftruncateSync(file, 512 + size + 1024);
  closeSync(file);
}
