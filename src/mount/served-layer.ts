import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { MountState } from './state';

/** Whether a file is one of the lazy server's. */
function isServedFile(file: string): boolean {
  return dirname(file).endsWith('/lazy/layers');
}

/** The device number of the FUSE mount that a layer's file is on; undefined of a file on a disk. */
export async function servedBy(file: string): Promise<number | undefined> {
  if (!isServedFile(file)) return undefined;
  return (await stat(dirname(file)).catch(() => null))?.dev;
}

/**
 * Whether what a mounted layer is read from is still there. The mount of a layer outlives a lazy server and its keeper that were both killed:
 * the next server has another FUSE mount, and reads of what the old one had fail for ever. A mount keeps the number from being given again.
 */
export async function isAnswered(state: MountState, key: string): Promise<boolean> {
  const record = await state.readLayer(key);
  if (record === null || record === 'lost') return true;
  const { files, served } = record;
  if (served === undefined || basename(files[0]!) !== key) return true;
  return (await servedBy(join(state.folder, 'lazy', 'layers', key))) === served;
}
