import { isUtf8 } from 'node:buffer';
import { posix } from 'node:path';
import { failure } from '../../errors';
import type { JobOptions } from '../../job';
import { native } from '../../native/binding';
import { readTarEntries, type TarEntry } from '../../native/tar-entries';
import { sliceSource } from '../../source/slice';
import type { LayoutFile, LayoutFiles } from '../layout/source';

/** More than the archive of any image has. */
const maxEntries = 1_000_000;
/** Links that are followed one after the other. */
const maxLinks = 16;

/** A file of a tar, or a link to one. */
type Member = { kind: 'file'; offset: number; size: number } | { kind: 'link'; target: string };

/** The files of an archive. */
export interface ArchiveFiles extends LayoutFiles {
  /** Whether open() would find something; links are followed. */
  has(path: string): boolean;
  /** Whether both paths lead to one file. */
  isSame(path: string, other: string): boolean;
  /** Paths of all files and links, without `./` before them. */
  paths(): Iterable<string>;
}

/**
 * The files of a tar, which is closed with them. Of two with one name the last counts, as when the tar is extracted; links lead to
 * other files of the tar, and nowhere else.
 */
export async function openArchiveFiles(archive: LayoutFile, options: JobOptions): Promise<ArchiveFiles> {
  const members = await listMembers(archive, options).catch(async (error: unknown) => {
    await archive.close();
    throw error;
  });
  return {
    has: (path) => follow(members, path) !== null,
    isSame(path, other) {
      const file = follow(members, path);
      return file !== null && file === follow(members, other);
    },
    paths: () => members.keys(),
    async open(path, name) {
      const file = follow(members, path);
      if (file === null) throw failure('NOT_FOUND', name, `there is no ${path} in ${archive.name}`);
      const slice = sliceSource(archive, file.offset, file.size, name);
      return { ...slice, fd: archive.fd, offset: file.offset };
    },
    close: () => archive.close(),
  };
}

async function listMembers(archive: LayoutFile, options: JobOptions): Promise<Map<string, Member>> {
  const { fd, offset, size, name } = archive;
  const source = new native.Source({ fd, offset, size, name });
  try {
    const members = new Map<string, Member>();
    for await (const entries of readTarEntries(source, options, name)) {
      for (const entry of entries) addMember(members, entry);
      if (members.size > maxEntries) throw failure('UNSUPPORTED', name, `more than ${maxEntries} files`);
    }
    return members;
  } finally {
    source.close();
  }
}

function addMember(members: Map<string, Member>, { type, name, target, size, data }: TarEntry): void {
  const path = memberPath(name);
  if (type === 'hardlink') members.set(path, { kind: 'link', target: memberPath(target) });
  else if (type === 'symlink') {
    members.set(path, { kind: 'link', target: symlinkPath(path, fromBytes(target)) });
  } else if (type === 'file' && (size === 0 || data[2] === size)) {
    members.set(path, { kind: 'file', offset: data[1] ?? 0, size });
  } else members.delete(path); // a sparse file is no slice of the archive, and the rest are no files
}

/** What leads out of the archive has a path that no file has. */
function memberPath(name: string): string {
  return normalize(fromBytes(name));
}

function symlinkPath(path: string, target: string): string {
  return normalize(posix.join(posix.dirname(path), target));
}

function normalize(path: string): string {
  return posix.normalize(path).replace(/^\/+/, '').replace(/\/+$/, '');
}

/** Names come with one character a byte. What is no UTF-8 stays as it is, behind a byte that no name has: nothing that is named leads there. */
function fromBytes(text: string): string {
  const bytes = Buffer.from(text, 'latin1');
  return isUtf8(bytes) ? bytes.toString() : `\0${text}`;
}

/** The file that a path leads to; null when it leads nowhere, or in a circle. */
function follow(members: ReadonlyMap<string, Member>, path: string) {
  let member = members.get(normalize(path));
  for (let links = 0; member?.kind === 'link'; links++) {
    if (links === maxLinks) return null;
    member = members.get(member.target);
  }
  return member ?? null;
}
