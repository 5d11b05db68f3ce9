import type { Xattr } from '../erofs/xattr';
import type { ErofsInode } from '../erofs/inode';

/** What overlayfs keeps for itself. */
const ownPrefix = 'trusted.overlay.';
/** What a stacked overlayfs kept: the outer one shows it without the doubled part. */
const escapedPrefix = 'trusted.overlay.overlay.';

/** How a directory of a layer stands to those below it. */
interface DirectoryMarks {
  /** Directories of this path in lower layers don't shine through. */
  opaque: boolean;
  /** Its whiteouts may be empty files with an xattr, besides devices. */
  xattrWhiteouts: boolean;
}

/** Reads the marks of a directory from its xattrs (kernel: Documentation/filesystems/overlayfs.rst). */
export function directoryMarks(xattrs: readonly Xattr[]): DirectoryMarks {
  const opaque = xattrs
    .find(({ name }) => name.toString('latin1') === `${ownPrefix}opaque`)
    ?.value.toString('latin1');
  return { opaque: opaque === 'y', xattrWhiteouts: opaque === 'x' };
}

/** The usual form of a whiteout: a character device 0:0, whatever its mode. */
export function isWhiteoutDevice({ type, rdev }: ErofsInode): boolean {
  return type === 'char' && rdev?.major === 0 && rdev.minor === 0;
}

/** Whether an inode in a directory with `xattrWhiteouts` must be asked for its xattrs. */
export function mayBeXattrWhiteout({ type, size, hasXattrs }: ErofsInode): boolean {
  return type === 'file' && size === 0 && hasXattrs;
}

/** The other form of a whiteout. */
export function hasWhiteoutXattr(xattrs: readonly Xattr[]): boolean {
  return xattrs.some(({ name }) => name.toString('latin1') === `${ownPrefix}whiteout`);
}

/** The data of such a file is elsewhere: see redirects.ts. */
export function isMetacopy(xattrs: readonly Xattr[]): boolean {
  return xattrs.some(({ name }) => name.toString('latin1') === `${ownPrefix}metacopy`);
}

/** Where a file or directory goes on in lower layers, as a byte string; null: at its own path. */
export function redirectOf(xattrs: readonly Xattr[]): string | null {
  const found = xattrs.find(({ name }) => name.toString('latin1') === `${ownPrefix}redirect`);
  return found?.value.toString('latin1') ?? null;
}

/** What an overlay mount shows of a layer's xattrs. */
export function visibleXattrs(xattrs: readonly Xattr[]): Xattr[] {
  return xattrs.flatMap((xattr) => {
    const name = xattr.name.toString('latin1');
    if (!name.startsWith(ownPrefix)) return [xattr];
    if (!name.startsWith(escapedPrefix)) return [];
    return [{ ...xattr, name: Buffer.from(ownPrefix + name.slice(escapedPrefix.length), 'latin1') }];
  });
}
