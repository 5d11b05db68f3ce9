import type { ListedEntry } from '../../../src/index';
import { escapePath } from '../../../src/format/escaped-path';
import type { RecordedEntry } from '../../erofs/erofs-images';

const recordedTypes: Partial<Record<ListedEntry['type'], RecordedEntry['type']>> = {
  char: 'chr',
  block: 'blk',
};

/** A listing in the form of the recorded trees, which have no contents here. */
export function asRecorded(entries: readonly ListedEntry[]): Omit<RecordedEntry, 'sha256'>[] {
  const firstPaths = new Map<number, string>();
  return entries.map((entry) => {
    const { path, ino, type, mode, uid, gid, nlink, mtime, size, target, rdev, xattrs } = entry;
    const first = firstPaths.get(ino);
    if (first === undefined) firstPaths.set(ino, path);
    const values = Object.entries(xattrs).map(([name, value]) => [
      name,
      escapePath(Buffer.from(value, 'base64')),
    ]);
    return {
      path,
      type: recordedTypes[type] ?? (type as 'file'),
      mode,
      uid,
      gid,
      nlink,
      mtime,
      ...(type === 'file' || type === 'symlink' ? { size } : {}),
      ...(target === null ? {} : { target }),
      ...(rdev === null ? {} : { rdev: rdev.split(':').map(Number) as [number, number] }),
      ...(values.length === 0 ? {} : { xattrs: Object.fromEntries(values) as Record<string, string> }),
      ...(first === undefined ? {} : { hardlink_of: first }),
    };
  });
}

/** What a recorded tree says, without contents. */
export function withoutContents(entries: readonly RecordedEntry[]): object[] {
  return entries.map((entry) => ({ ...entry, sha256: undefined }));
}
