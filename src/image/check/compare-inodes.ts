import type { ErofsFilesystem } from '../../erofs/filesystem';
import type { ErofsInode } from '../../erofs/inode';
import type { DifferenceField, DifferenceValue } from './differences';
import { showBytes } from '../../format/escaped-path';
import type { TreeNode } from './tree-node';

/** Only there to make overlayfs list a directory properly: not part of what a layer says. */
const ignoredXattr = 'trusted.overlay.origin';

type Report = (field: DifferenceField, expected: DifferenceValue, actual: DifferenceValue) => void;

/** Reports what two inodes of one type differ in, but for contents and links. */
export async function compareInodes(
  expected: TreeNode,
  actual: ErofsInode,
  filesystem: ErofsFilesystem,
  report: Report,
): Promise<void> {
  const compare: Report = (field, wanted, found) => {
    if (wanted !== found) report(field, wanted, found);
  };
  compare('mode', showMode(expected.mode), showMode(actual.mode));
  compare('uid', expected.uid, actual.uid);
  compare('gid', expected.gid, actual.gid);
  const { seconds, nanoseconds } = actual.mtime;
  if (expected.seconds !== seconds || expected.nanoseconds !== nanoseconds) {
    report('mtime', showTime(expected.seconds, expected.nanoseconds), showTime(seconds, nanoseconds));
  }
  if (expected.type === 'file') compare('size', expected.size, actual.size);
  if (expected.type === 'symlink') {
    const target = await filesystem.readlink(actual);
    compare('target', showBytes(expected.target), showBytes(target.toString('latin1')));
  }
  if (actual.rdev !== null) {
    const { major, minor } = actual.rdev;
    compare('rdev', `${expected.major}:${expected.minor}`, `${major}:${minor}`);
  }
  if (expected.xattrs !== null || actual.hasXattrs) {
    compareXattrs(expected.xattrs ?? new Map<string, string>(), await readXattrs(filesystem, actual), report);
  }
}

/** The xattrs of an inode as byte strings. */
export async function readXattrs(
  filesystem: ErofsFilesystem,
  inode: ErofsInode,
): Promise<Map<string, string>> {
  if (!inode.hasXattrs) return new Map();
  const xattrs = await filesystem.xattrs(inode);
  return new Map(xattrs.map(({ name, value }) => [name.toString('latin1'), value.toString('latin1')]));
}

function compareXattrs(
  expected: ReadonlyMap<string, string>,
  actual: ReadonlyMap<string, string>,
  report: Report,
): void {
  const names = [...new Set([...expected.keys(), ...actual.keys()])].sort();
  const differing = names.filter((name) => name !== ignoredXattr && expected.get(name) !== actual.get(name));
  if (differing.length > 0) report('xattrs', showXattrs(expected, differing), showXattrs(actual, differing));
}

function showXattrs(xattrs: ReadonlyMap<string, string>, names: string[]): Record<string, string> {
  const present = names.filter((name) => xattrs.has(name));
  const base64 = (name: string): string => Buffer.from(xattrs.get(name)!, 'latin1').toString('base64');
  return Object.fromEntries(present.map((name) => [showBytes(name), base64(name)]));
}

function showMode(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

function showTime(seconds: bigint, nanoseconds: number): string {
  return `${seconds}.${String(nanoseconds).padStart(9, '0')}`;
}
