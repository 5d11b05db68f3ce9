import { basename, join } from 'node:path';
import { lstat, readdir, rename, rm, stat, unlink } from 'node:fs/promises';
import { failure, fromSystemError, SeekableErofsError } from '../../errors';
import { parseDigest } from '../../format/digest';
import { syncFolder } from '../../fs/atomic-file';
import { checkFileName } from '../../fs/file-name';
import { makeFolder, removeIfEmpty } from '../../fs/folder';
import { withInnerFolder } from '../../fs/inner-folder';
import type { JobOptions } from '../../job';
import { maxListSize, serializeJson } from '../../format/json';
import { emptyIndex } from '../../oci/manifest';
import { referrersTag, withReferrer } from '../../oci/referrers';
import type { BlobDraft, BlobFile, DestinationStore } from '../../oci/store';
import type { Descriptor, Index } from '../../oci/types';
import { openFileSource } from '../../source/file';
import { checkContent } from '../blob-content';
import { GroupedAction } from './grouped-action';
import { checkLayoutMarker, layoutMarker, withReference } from './index-json';
import { reachableFrom } from './reachable';
import {
  blobPath,
  LayoutSource,
  readJsonBlob,
  readLayoutIndex,
  readReferrers,
  readSmallFile,
  type LayoutFiles,
} from './source';
import { LayoutWorkspace, workspaceName, type DraftFolder } from './workspace';

interface PendingBlob {
  path: string;
  descriptor: Descriptor;
  /** When it is on the disk; undefined: it is. */
  synced?: Promise<void>;
}

interface NamedImage {
  reference: string | undefined;
  descriptor: Descriptor;
}

/** Opens the layout in folder `path` for reading. Errors as of LayoutSource.open(). */
export async function openLayoutSource(path: string): Promise<LayoutSource> {
  checkFileName(path);
  const status = await stat(path).catch((error: unknown) => {
    const known = fromSystemError(path, error);
    // Other transports have slashes there.
    if (!(known instanceof SeekableErofsError) || !path.startsWith('//')) throw known;
    throw failure(known.code, path, known.why, `oci:${path.slice(2)} for a path that is not from the root`);
  });
  if (!status.isDirectory()) {
    throw failure(
      'NOT_FOUND',
      path,
      'it is no folder, so no OCI image layout',
      'oci-archive:FILE for a tar of one',
    );
  }
  return LayoutSource.open(`oci:${path}`, folderFiles(path));
}

/**
 * An image layout in a folder that images are written to. Blobs wait as drafts until setReference(), which moves those that it
 * leads to to their places under the layout's lock and then replaces index.json: whenever the process ends, the layout is valid.
 * A kill leaves at most a hidden folder, and, in the moments between the two, complete blobs that no reference leads to: the
 * next writer removes both. One store may set several references, and several calls may use it at once.
 */
export class LayoutDestination implements DestinationStore {
  readonly name: string;
  /** Blobs that the references to come may lead to: digest → a file in the drafts, of one that the layout has another name of it. */
  private readonly pending = new Map<string, PendingBlob>();
  /** Waiting for the disk takes most of the time, as long for one image as for ten. */
  private readonly publishing = new GroupedAction<NamedImage>((images) =>
    this.workspace.locked(this.signal, () => this.publish(images)),
  );

  private constructor(
    private readonly path: string,
    private readonly isFolderOurs: boolean,
    private readonly workspace: LayoutWorkspace,
    private readonly drafts: DraftFolder,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.name = `oci:${path}`;
  }

  /**
   * Opens the layout at `path`, or prepares to make one in an empty or new folder there.
   * @throws NOT_FOUND when the parent folder is missing, USAGE when the folder has other things in it.
   */
  static async open(path: string, { signal }: JobOptions = {}): Promise<LayoutDestination> {
    const isFolderOurs = await makeFolder(path);
    try {
      await checkFolder(path);
      const workspace = openWorkspace(path);
      const drafts = await workspace.begin(signal);
      return new LayoutDestination(path, isFolderOurs, workspace, drafts, signal);
    } catch (error) {
      if (isFolderOurs) await removeIfEmpty(path);
      throw fromSystemError(path, error);
    }
  }

  /** What is there stays there for this writer, whatever others remove: it is given a second name among the drafts. */
  async has(descriptor: Descriptor): Promise<boolean> {
    const { digest } = descriptor;
    if (this.pending.has(digest)) return true;
    if (!(await isStored(this.path, descriptor))) return false;
    try {
      const path = await inBlobFolder(this.path, descriptor, (folder, name) =>
        this.drafts.link(join(folder, name)),
      );
      if (path !== null && !this.pending.has(digest)) this.pending.set(digest, { path, descriptor });
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  async createBlob(): Promise<BlobDraft> {
    const draft = await this.drafts.createFile();
    return {
      fd: draft.handle.fd,
      name: this.name,
      // Who commits need not wait for the disk: the reference does, and other layers are worked on meanwhile.
      commit: async (descriptor) => {
        try {
          draft.check(descriptor.size);
        } catch (error) {
          await draft.remove();
          throw error;
        }
        const synced = draft.finish(descriptor.size);
        synced.catch(() => undefined); // publish() tells
        this.pending.set(descriptor.digest, { path: draft.path, descriptor, synced });
      },
      discard: () => draft.remove(),
    };
  }

  async writeBlob(descriptor: Descriptor, bytes: Uint8Array): Promise<void> {
    checkContent(descriptor, bytes);
    const path = await this.drafts.writeFile(bytes);
    this.pending.set(descriptor.digest, { path, descriptor });
  }

  async openWritten(descriptor: Descriptor): Promise<BlobFile> {
    const draft = this.pending.get(descriptor.digest);
    const name = `blob ${descriptor.digest}`;
    return draft === undefined
      ? folderFiles(this.path).open(blobPath(descriptor), name)
      : openFileSource(draft.path, name);
  }

  async setReference(reference: string | undefined, descriptor: Descriptor): Promise<void> {
    if (!(await this.has(descriptor)))
      throw failure('NOT_FOUND', descriptor.digest, `not written to ${this.name}`);
    try {
      await this.publishing.add({ reference, descriptor });
    } catch (error) {
      throw fromSystemError(this.name, error);
    }
  }

  /** The list is an index with the name that it would have as a tag. */
  async addReferrer(subject: string, entry: Descriptor, bytes: Uint8Array): Promise<void> {
    await this.writeBlob(entry, bytes);
    try {
      await this.workspace.locked(this.signal, async () => {
        const files = folderFiles(this.path);
        const index = (await readIndex(this.path)) ?? emptyIndex();
        const known = await readReferrers(index, subject, (descriptor) => readJsonBlob(files, descriptor));
        const reference = referrersTag(subject);
        const list = withReferrer(known, entry, `${this.name}:${reference}`);
        await this.writeBlob(list.descriptor, list.bytes);
        await this.publish([{ reference, descriptor: list.descriptor }]);
      });
    } catch (error) {
      throw fromSystemError(this.name, error);
    }
  }

  async close(): Promise<void> {
    await this.workspace.end(this.drafts);
  }

  async abort(): Promise<void> {
    await this.workspace.end(this.drafts);
    // Only empty folders go: an image that another writer has put there stays.
    if (this.isFolderOurs) await removeIfEmpty(this.path);
  }

  /** Blobs first, index.json next, and for a new layout the marker that makes it one last. */
  private async publish(images: readonly NamedImage[]): Promise<void> {
    const old = await readIndex(this.path);
    const blobs = await this.missingBlobs(
      images.map(({ descriptor }) => descriptor),
      old,
    );
    const index = images.reduce(
      (sofar, { reference, descriptor }) => withReference(sofar, reference, descriptor),
      old ?? emptyIndex(),
    );
    // Side by side: the disk takes as long for one as for all.
    const [indexDraft, markerDraft] = await Promise.all([
      this.drafts.writeFile(serializeJson(index, `${this.name}, index.json`, maxListSize)),
      old === undefined ? this.drafts.writeFile(layoutMarker) : undefined,
      this.drafts.recordMoves(blobs.map((blob) => blob.descriptor.digest)),
      ...blobs.map((blob) => blob.synced),
    ]);
    const moved: PendingBlob[] = [];
    try {
      await this.moveBlobs(blobs, moved);
      await rename(indexDraft, join(this.path, 'index.json'));
      if (markerDraft !== undefined) await rename(markerDraft, join(this.path, 'oci-layout'));
    } catch (error) {
      for (const blob of moved) await this.moveBack(blob);
      if (old === undefined) await unlink(join(this.path, 'index.json')).catch(() => undefined);
      if (this.isFolderOurs && old === undefined) await removeBlobFolders(this.path);
      throw error;
    }
    await syncFolder(this.path);
    await this.drafts.forgetMoves();
    for (const blob of blobs) this.pending.delete(blob.descriptor.digest);
  }

  /** What `roots` lead to and is not in its place; in a layout that is not one yet, nothing is. */
  private async missingBlobs(roots: readonly Descriptor[], index: Index | undefined): Promise<PendingBlob[]> {
    const drafts = new Map([...this.pending.values()].map((blob) => [blobPath(blob.descriptor), blob.path]));
    const stored = folderFiles(this.path);
    const files: LayoutFiles = {
      ...stored,
      open: (path, name) => {
        const draft = drafts.get(path);
        return draft === undefined ? stored.open(path, name) : openFileSource(draft, name);
      },
    };
    const reached = await reachableFrom(roots, {
      readJson: (descriptor) => readJsonBlob(files, descriptor),
    });
    const missing: PendingBlob[] = [];
    for (const [digest, blob] of this.pending) {
      if (!reached.has(digest)) continue;
      if (index === undefined || !(await isStored(this.path, blob.descriptor))) missing.push(blob);
    }
    return missing;
  }

  /** Moves blobs to their places, and makes their names last; those that were moved are added to `moved`. */
  private async moveBlobs(blobs: readonly PendingBlob[], moved: PendingBlob[]): Promise<void> {
    for (const algorithm of ['sha256', 'sha512']) {
      const those = blobs.filter(({ descriptor }) => parseDigest(descriptor.digest).algorithm === algorithm);
      if (those.length === 0) continue;
      const move = async (folder: string): Promise<void> => {
        for (const blob of those) {
          const { digest } = blob.descriptor;
          await rename(blob.path, join(folder, parseDigest(digest).hex)).catch((error: unknown) => {
            throw fromSystemError(`blob ${digest}`, error);
          });
          moved.push(blob);
        }
        await syncFolder(folder);
      };
      await withInnerFolder(this.path, ['blobs', algorithm], move, { make: true });
    }
  }

  private async moveBack({ path, descriptor }: PendingBlob): Promise<void> {
    await inBlobFolder(this.path, descriptor, (folder, name) => rename(join(folder, name), path));
  }
}

function openWorkspace(path: string): LayoutWorkspace {
  return new LayoutWorkspace(path, (digests) => removeUnreached(path, digests));
}

function folderFiles(folder: string): LayoutFiles {
  return {
    open: (path, name) =>
      withInnerFolder(folder, path.split('/').slice(0, -1), (inner) =>
        openFileSource(join(inner, basename(path)), name, { followLink: false }),
      ),
    async close() {
      // A folder is not held open.
    },
  };
}

/** Removes the blobs that a killed writer was about to move, unless an image leads to them by now. */
async function removeUnreached(layout: string, digests: readonly string[]): Promise<void> {
  const index = await readIndex(layout);
  const files = folderFiles(layout);
  const reached = await reachableFrom(index?.manifests ?? [], {
    readJson: (descriptor) => readJsonBlob(files, descriptor),
  });
  for (const digest of digests) {
    if (reached.has(digest)) continue;
    await inBlobFolder(layout, { digest }, (folder, name) => rm(join(folder, name), { force: true })).catch(
      ignoreMissing,
    );
  }
  if (index !== undefined) return;
  await rm(join(layout, 'index.json'), { force: true });
  await removeBlobFolders(layout);
}

/** Runs `use` on the folder that a blob belongs in, and its name there. No link leads there: a layout may be a stranger's. */
async function inBlobFolder<T>(
  layout: string,
  { digest }: Pick<Descriptor, 'digest'>,
  use: (folder: string, name: string) => Promise<T>,
): Promise<T> {
  const { algorithm, hex } = parseDigest(digest);
  const work = (folder: string): Promise<T> => use(folder, hex);
  return withInnerFolder(layout, ['blobs', algorithm], work).catch((error: unknown) => {
    throw fromSystemError(`blob ${digest}`, error);
  });
}

function ignoreMissing(error: unknown): void {
  if (!isMissing(error)) throw error;
}

function isMissing(error: unknown): boolean {
  return error instanceof SeekableErofsError && error.code === 'NOT_FOUND';
}

/** Whether a blob of that size is in its place. One of another size is broken, and replaced. */
async function isStored(layout: string, descriptor: Descriptor): Promise<boolean> {
  try {
    const status = await inBlobFolder(layout, descriptor, (folder, name) => lstat(join(folder, name)));
    return status.isFile() && status.size === descriptor.size;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Refuses a folder that is neither a layout nor empty nor one that a writer like this one began. */
async function checkFolder(path: string): Promise<void> {
  const names = await readdir(path);
  if ((await readIndex(path)) !== undefined || names.length === 0) return;
  const begun = [workspaceName, 'blobs', 'index.json'];
  if (names.includes(workspaceName) && names.every((name) => begun.includes(name))) return;
  throw failure('USAGE', path, 'it is neither empty nor an OCI image layout', 'name another folder');
}

/** The index.json of a layout; undefined where there is no layout yet. */
async function readIndex(path: string): Promise<Index | undefined> {
  const files = folderFiles(path);
  const isLayout = await lstat(join(path, 'oci-layout')).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  });
  if (isLayout === undefined) return undefined;
  checkLayoutMarker(
    await readSmallFile(files, 'oci-layout', join(path, 'oci-layout')),
    join(path, 'oci-layout'),
  );
  const what = join(path, 'index.json');
  return readLayoutIndex(files, what);
}

async function removeBlobFolders(path: string): Promise<void> {
  await withInnerFolder(path, ['blobs'], async (blobs) => {
    for (const algorithm of ['sha256', 'sha512']) await removeIfEmpty(join(blobs, algorithm));
  }).catch(ignoreMissing);
  await removeIfEmpty(join(path, 'blobs'));
}
