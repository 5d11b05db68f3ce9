import { writeFile } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { fromSystemError, type SeekableErofsError } from '../errors';
import { parseJson } from '../format/json';
import { writeAtomically } from '../fs/atomic-file';
import { checkRecordVersion } from '../fs/record-version';
import type { Vouched } from '../lazy/complete-layer';
import type { LayerRole } from '../image/composition';
import type { Backing, MountKind, VerityMode } from './plan';
import { requireRoot } from './kernel/system-call';

/** One layer of a mount. */
export interface MountedLayer {
  diffId: string;
  /** What the kernel reads: a `/dev/dm-N`, a `/dev/loopN`, or a file. */
  device: string;
  verity: VerityMode;
  /** Absent of a lower layer. */
  role?: Exclude<LayerRole, 'lower'>;
}

/** What the journal has of one mount: written before anything of it is done, so that it can be undone from there. */
export interface MountRecord {
  /** Absolute, without symbolic links. */
  target: string;
  /** The folder at `target` was made for it. */
  madeTarget: boolean;
  /** Null of a record that was lost. */
  kind: MountKind | null;
  /** The overlay's name in the kernel's list of mounts. */
  source: string;
  /** Of a writable overlay: the folder with `upper` and `work`. */
  rw: string | null;
  mounted: boolean;
  /** In the image's order, devices before those that use them, data-only ones last; `key` names a layer of this state folder, and is all that is known of it in a record that was lost. */
  layers: (MountedLayer & { key: string })[];
}

/** What the journal has of one layer, written before anything of it is set up. */
export interface LayerRecord {
  /** The image, then its external devices. */
  files: string[];
  backing: Backing;
  /** The names that a dm-verity device gets. */
  dm: { name: string; uuid: string } | null;
  /** Loop devices that may not detach themselves. */
  loops: string[];
  /** Of a layer that the lazy server has: the device number of its FUSE mount. Another server's is another, and does not answer for it. */
  served?: number | undefined;
}

/** Of the records of mounts and layers. To be raised when they change; earlier ones are read as well, as what is mounted outlives an upgrade. */
const recordVersion = 1;

/**
 * Null where there is no file, "lost" where it is not what was written: a disk that was full, or broken, may have emptied it.
 * @throws UNSUPPORTED for what a newer program wrote
 */
export async function readRecord<T>(
  path: string,
  isWhole: (value: unknown) => value is T,
): Promise<T | 'lost' | null> {
  const found = await readObject(path);
  if (found === null) return null;
  const { version, ...value } = found;
  checkRecordVersion(path, version, recordVersion);
  return isWhole(value) ? value : 'lost';
}

export async function writeRecord(path: string, value: object): Promise<void> {
  await writeJson(path, { version: recordVersion, ...value });
}

/** Null where there is no file, empty where it is no JSON. */
export async function readObject(path: string): Promise<Record<string, unknown> | null> {
  const bytes = await readFile(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw readFailure(path, error);
  });
  if (bytes === null) return null;
  try {
    return { ...(parseJson(bytes, path) as object | null) };
  } catch {
    return {};
  }
}

/** MACHINE where only root may look. */
export function readFailure(path: string, error: unknown): SeekableErofsError {
  if ((error as NodeJS.ErrnoException).code === 'EACCES') requireRoot(path, 'looking at mounts');
  return fromSystemError(path, error);
}

export function isMountRecord(value: unknown): value is MountRecord {
  const { target, kind, source, layers } = (value ?? {}) as Partial<Record<keyof MountRecord, unknown>>;
  const isLayer = (layer: unknown): boolean => typeof (layer as { key?: unknown } | null)?.key === 'string';
  const isText = typeof target === 'string' && typeof source === 'string';
  return isText && (kind === 'erofs' || kind === 'overlay') && Array.isArray(layers) && layers.every(isLayer);
}

export function isVouched(value: unknown): value is Vouched {
  const { unvouchedTree, verity = null } = (value ?? {}) as Partial<Vouched>;
  const isVerity = verity === null || (typeof verity === 'object' && typeof verity.rootDigest === 'string');
  return typeof unvouchedTree === 'boolean' && isVerity;
}

export function isLayerRecord(value: unknown): value is LayerRecord {
  const { files, backing, loops } = (value ?? {}) as Partial<Record<keyof LayerRecord, unknown>>;
  return Array.isArray(files) && Array.isArray(loops) && typeof backing === 'string';
}

export async function writeJson(path: string, value: object): Promise<void> {
  await writeAtomically(path, async ({ fd }) => promisify(writeFile)(fd, `${JSON.stringify(value)}\n`));
}
