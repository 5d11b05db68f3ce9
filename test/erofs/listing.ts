import { createHash } from 'node:crypto';

import type { ErofsFilesystem } from '../../src/erofs/filesystem';
import type { ErofsInode } from '../../src/erofs/inode';
import { escapePath } from '../../src/format/escaped-path';
import type { RecordedEntry } from './erofs-images';

const recordedTypes = { char: 'chr', block: 'blk' } as const;

/** Everything that a file system shows, in the form of the recorded trees and in the order of the walk. */
export async function listing(filesystem: ErofsFilesystem): Promise<RecordedEntry[]> {
  const entries: RecordedEntry[] = [];
  const firstPaths = new Map<bigint, string>();
  for await (const { path, inode } of filesystem.walk()) {
    const text = escapePath(path);
    const first = firstPaths.get(inode.nid);
    if (first === undefined) firstPaths.set(inode.nid, text);
    entries.push({
      path: text,
      ...describe(inode),
      ...(await contents(filesystem, inode)),
      ...(first === undefined ? {} : { hardlink_of: first }),
    });
  }
  return entries;
}

function describe(inode: ErofsInode): Omit<RecordedEntry, 'path'> {
  const { type, mode, uid, gid, nlink, mtime, rdev } = inode;
  return {
    type: type in recordedTypes ? recordedTypes[type as 'char'] : (type as 'file'),
    mode: mode.toString(8).padStart(4, '0'),
    uid,
    gid,
    nlink,
    mtime: `${mtime.seconds}.${mtime.nanoseconds.toString().padStart(9, '0')}`,
    ...(rdev === null ? {} : { rdev: [rdev.major, rdev.minor] }),
  };
}

async function contents(filesystem: ErofsFilesystem, inode: ErofsInode): Promise<Partial<RecordedEntry>> {
  const xattrs = (await filesystem.xattrs(inode)).map(({ name, value }) => [
    escapePath(name),
    escapePath(value),
  ]);
  const common = xattrs.length === 0 ? {} : { xattrs: Object.fromEntries(xattrs) as Record<string, string> };
  if (inode.type === 'symlink') {
    return { ...common, size: inode.size, target: escapePath(await filesystem.readlink(inode)) };
  }
  if (inode.type !== 'file') return common;
  return { ...common, size: inode.size, sha256: await digestOf(filesystem, inode) };
}

/** SHA-256 of a file, read as a stream. */
export async function digestOf(filesystem: ErofsFilesystem, file: string | ErofsInode): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of filesystem.createReadStream(file)) hash.update(piece as Buffer);
  return hash.digest('hex');
}
