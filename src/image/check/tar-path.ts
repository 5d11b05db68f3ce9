import { failure, type SeekableErofsError } from '../../errors';
import { showBytes } from '../../format/escaped-path';

export const whiteoutPrefix = '.wh.';
const aufsPrefix = '.wh..wh.';
const opaqueMarker = '.wh..wh..opq';
const maxName = 255;
const maxPath = 4095;

/** What the name of a tar's entry asks for: an entry at this path, or something done to what lower layers have there. */
type TarPath =
  | { kind: 'entry' | 'whiteout'; folder: string[]; name: string }
  | { kind: 'root' | 'dropped' }
  | { kind: 'opaque'; folder: string[] };

/** Reads the name of a tar's entry by the policy. REFUSED names the entry. */
export function readTarPath(raw: string): TarPath {
  if (raw === '') throw refuseEntry(raw, 'has an empty name');
  const parts = cleanPath(raw);
  const name = parts.at(-1);
  if (name === undefined) return { kind: 'root' };
  if (parts.some((part) => part.startsWith(aufsPrefix) && part !== opaqueMarker)) return { kind: 'dropped' };
  const folder = parts.slice(0, -1);
  if (folder.some(isWhiteoutName)) throw refuseEntry(raw, 'leads through a whiteout');
  if (name === opaqueMarker) return { kind: 'opaque', folder };
  const isWhiteout = isWhiteoutName(name);
  const path: TarPath = {
    kind: isWhiteout ? 'whiteout' : 'entry',
    folder,
    name: isWhiteout ? name.slice(whiteoutPrefix.length) : name,
  };
  if (['', '.', '..'].includes(path.name)) throw refuseEntry(raw, 'is a whiteout of nothing');
  checkLengths(raw, parts);
  return path;
}

/** Whether overlay tools take a name for a whiteout. */
export function isWhiteoutName(name: string): boolean {
  return name.startsWith(whiteoutPrefix);
}

/** Components of a path, its `.` and `..` resolved as text; `..` ends at the root. */
export function cleanPath(path: string): string[] {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts;
}

function checkLengths(raw: string, parts: string[]): void {
  for (const part of parts) {
    if (part.length > maxName) throw refuseEntry(raw, `has a name of ${part.length} bytes`);
  }
  const length = parts.join('/').length;
  if (length > maxPath) throw refuseEntry(raw, `has a path of ${length} bytes`);
}

/** The error for an entry that the policy refuses. */
export function refuseEntry(raw: string, why: string): SeekableErofsError {
  const shown = raw.length > maxPath ? `${raw.slice(0, maxPath)}...` : raw;
  return failure('REFUSED', `entry ${shown === '' ? "''" : showBytes(shown)}`, why);
}
