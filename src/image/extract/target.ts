import { closeSync, constants, fstatSync, openSync, readdirSync } from 'node:fs';
import { constants as system } from 'node:os';
import { basename, dirname } from 'node:path';
import { SeekableErofsError, failure, fromSystemError } from '../../errors';
import { checkFileName } from '../../fs/file-name';
import { native } from '../../native/binding';
import { makeExtractDraft } from './drafts';

/** The folder that an extraction fills. A commit() that succeeds, or discard(), ends it. */
export interface ExtractTarget {
  /** Open until the end. */
  readonly fd: number;
  /** What errors call it, and what it will be called. */
  readonly name: string;
  /** It held something before: what a failed extraction made stays in it. */
  readonly wasFilled: boolean;
  /** Gives it its name. */
  commit(): void;
  /** Lets go of it, when what was made in it is gone already: a new one goes, too. */
  discard(): void;
}

/** A name in the open folder `parent`; `dir` is what errors call it. */
interface Place {
  dir: string;
  parent: number;
  name: string;
}

const { sys } = native;
const { ENOENT, ELOOP, ENOTDIR, EEXIST, ENOTEMPTY, ENOSPC, EDQUOT } = system.errno;
/** O_PATH, which needs no permission to read the folder. */
const openPath = 0o10000000;
const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY;

/**
 * Where a folder is to be filled: a new one grows beside its place under a hidden name. A name is looked up once, and what was open then is
 * filled, whoever renames things meanwhile. USAGE when there is something else, a symbolic link, or a folder that is not empty, unless
 * `force`.
 */
export function openExtractTarget(dir: string, force: boolean): ExtractTarget {
  checkFileName(dir);
  const place: Place = { dir, parent: openParent(dir, dirname(dir)), name: basename(dir) || '.' };
  try {
    const fd = openExisting(place);
    return fd === null ? openNew(place) : takeExisting(place, fd, force);
  } catch (error) {
    closeSync(place.parent);
    throw aboutFolder(dir, error);
  }
}

function openParent(dir: string, parent: string): number {
  try {
    return openSync(parent, folderFlags);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fromSystemError(dir, error);
    throw failure('NOT_FOUND', dir, `folder ${parent} does not exist`, 'create it first');
  }
}

/** Null when there is nothing of the name. */
function openExisting({ dir, parent, name }: Place): number | null {
  try {
    return sys.openEntry(parent, name, folderFlags);
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    if (errno === ENOENT) return null;
    if (errno === ENOTDIR) throw failure('USAGE', dir, 'it exists and is no folder');
    if (errno !== ELOOP) throw error;
    throw failure('USAGE', dir, 'it is a symbolic link', 'name the folder that it points to');
  }
}

function takeExisting({ dir, parent }: Place, fd: number, force: boolean): ExtractTarget {
  try {
    const wasFilled = !isEmpty(fd);
    if (wasFilled && !force)
      throw failure('USAGE', dir, 'it is not empty', 'choose another folder, or give --force');
    closeSync(parent);
    const end = (): void => {
      closeSync(fd);
    };
    return { fd, name: dir, wasFilled, commit: end, discard: end };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function openNew(place: Place): ExtractTarget {
  const { dir, parent } = place;
  const { name: unfinished, fd } = makeExtractDraft(parent);
  if (!isEmpty(fd)) {
    closeSync(fd);
    throw inTheWay(dir);
  }
  const end = (): void => {
    closeSync(fd);
    closeSync(parent);
  };
  const commit = (): void => {
    publish(place, unfinished, fd);
    end();
  };
  const discard = (): void => {
    try {
      removeDraft(place, unfinished);
    } finally {
      end();
    }
  };
  return { fd, name: dir, wasFilled: false, commit, discard };
}

/** Gives the draft its name, and makes sure that it was the draft which got it. */
function publish({ dir, parent, name }: Place, unfinished: string, fd: number): void {
  try {
    sys.renameEntry(parent, unfinished, name);
    const named = sys.openEntry(parent, name, constants.O_DIRECTORY | openPath);
    const [is, shouldBe] = [fstatSync(named, { bigint: true }), fstatSync(fd, { bigint: true })];
    closeSync(named);
    if (is.ino !== shouldBe.ino || is.dev !== shouldBe.dev) throw inTheWay(dir);
  } catch (error) {
    throw aboutFolder(dir, error);
  }
}

/** What others put into it, or in its place, stays. */
function removeDraft({ parent }: Place, unfinished: string): void {
  try {
    sys.removeFolder(parent, unfinished);
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    if (![ENOENT, ENOTDIR, ENOTEMPTY, EEXIST].includes(errno!)) throw error;
  }
}

function isEmpty(fd: number): boolean {
  return readdirSync(`/proc/self/fd/${fd}`).length === 0;
}

function inTheWay(dir: string): SeekableErofsError {
  return failure(
    'IO',
    dir,
    'something else took its place meanwhile',
    'choose a folder that only you write to',
  );
}

/** What a bare call threw, as an error about the folder. */
function aboutFolder(dir: string, error: unknown): unknown {
  const { errno, why } = error as { errno?: number; why?: string };
  if (error instanceof SeekableErofsError || errno === undefined || why === undefined) {
    return fromSystemError(dir, error);
  }
  const isFull = errno === ENOSPC || errno === EDQUOT;
  if (isFull)
    return new SeekableErofsError('NO_SPACE', { what: dir, why, hint: 'free some space', cause: error });
  return new SeekableErofsError('IO', { what: dir, why, cause: error });
}
