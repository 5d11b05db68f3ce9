import { fstatSync, writeFileSync } from 'node:fs';
import { failure, fromSystemError } from '../../errors';
import { createAtomicFile, type AtomicFileOptions } from '../../fs/atomic-file';
import { checkOutputTakesBytes } from '../../fs/output-file';
import { openTemporary, type TemporaryFile } from '../../fs/temporary';
import type { ResourceOptions } from '../../job';
import { maxListSize, serializeJson } from '../../format/json';
import { emptyIndex } from '../../oci/manifest';
import type { BlobDraft, BlobFile, DestinationStore } from '../../oci/store';
import { openFileSource } from '../../source/file';
import type { Descriptor, Index } from '../../oci/types';
import { openArchiveFile } from './open-archive';
import { openArchiveFiles } from './tar-members';
import { checkContent, checkSize } from '../blob-content';
import { readChunks, writeChunks } from '../../fs/fd-chunks';
import { layoutMarker, withReference } from '../layout/index-json';
import { blobPath, LayoutSource } from '../layout/source';
import type { TarMember } from './tar-writer';

/**
 * Opens a tar of a layout for reading; `-` is standard input, spooled to an unlinked temporary file as a gzip-compressed
 * one is. Errors as of LayoutSource.open(), and CORRUPT for what is no tar.
 */
export async function openOciArchiveSource(
  path: string,
  options: ResourceOptions = {},
): Promise<LayoutSource> {
  const archive = await openArchiveFile(path, options);
  return LayoutSource.open(`oci-archive:${path}`, await openArchiveFiles(archive, options));
}

/** Blobs of an archive that have a file of their own while they wait. */
const maxFiles = 16;

/** Where the bytes of a blob wait. */
interface WaitingBlob {
  fd: number;
  offset: number;
  size: number;
}

/** What writing an archive takes. */
type ArchiveOptions = ResourceOptions & AtomicFileOptions;

/**
 * A tar of a layout being written. Blobs wait in unlinked temporary files until close(), which writes the archive
 * beside its name and renames it, or streams it to standard output (`-`). The same images give the same bytes.
 */
export class OciArchiveDestination implements DestinationStore {
  readonly name: string;
  /** By path in the archive. */
  private readonly blobs = new Map<string, WaitingBlob>();
  private readonly files: TemporaryFile[] = [];
  /** Holds the blobs behind the first few, one behind the other. */
  private gathered: Promise<TemporaryFile> | undefined;
  private gatheredSize = 0;
  private index: Index = emptyIndex();

  private constructor(
    private readonly path: string,
    private readonly options: ArchiveOptions,
  ) {
    this.name = `oci-archive:${path}`;
  }

  /** @throws NOT_FOUND when the folder doesn't exist, USAGE when the archive would go to a terminal or in the place of an input. */
  static async open(path: string, options: ArchiveOptions = {}): Promise<OciArchiveDestination> {
    if (path !== '-') await (await createAtomicFile(path, options)).discard();
    else checkOutputTakesBytes(`oci-archive:${path}`);
    return new OciArchiveDestination(path, options);
  }

  async has(descriptor: Descriptor): Promise<boolean> {
    return this.blobs.has(blobPath(descriptor));
  }

  async createBlob(): Promise<BlobDraft> {
    const file = await openTemporary(this.options.tmpDir);
    return {
      fd: file.fd,
      name: this.name,
      isTemporary: true,
      commit: (descriptor) => this.commit(file, descriptor),
      discard: () => file.close(),
    };
  }

  async writeBlob(descriptor: Descriptor, bytes: Uint8Array): Promise<void> {
    checkContent(descriptor, bytes);
    const draft = await this.createBlob();
    try {
      writeFileSync(draft.fd, bytes);
    } catch (error) {
      await draft.discard();
      throw fromSystemError(this.name, error);
    }
    await draft.commit(descriptor);
  }

  async openWritten(descriptor: Descriptor): Promise<BlobFile> {
    const { fd, offset, size } = this.blobs.get(blobPath(descriptor))!;
    const file = await openFileSource(`/proc/self/fd/${fd}`, `blob ${descriptor.digest}`);
    return {
      ...file,
      offset,
      size,
      read: (start, length, signal) => file.read(offset + start, length, signal),
    };
  }

  async setReference(reference: string | undefined, descriptor: Descriptor): Promise<void> {
    if (!(await this.has(descriptor)))
      throw failure('NOT_FOUND', descriptor.digest, `not written to ${this.name}`);
    this.index = withReference(this.index, reference, descriptor);
  }

  async close(): Promise<void> {
    try {
      if (this.index.manifests.length > 0) {
        const { writeTar } = await import('./tar-writer.js'); // what only reads an archive needs no library for it
        await writeTar(this.path, this.members(), this.options);
      }
    } finally {
      await this.abort();
    }
  }

  async abort(): Promise<void> {
    this.blobs.clear();
    const gathered = await this.gathered?.catch(() => undefined);
    this.gathered = undefined;
    // Unnamed files: there is nothing that could be left of them.
    for (const file of [...this.files.splice(0), gathered]) await file?.close().catch(() => undefined);
  }

  private async commit(file: TemporaryFile, descriptor: Descriptor): Promise<void> {
    const path = blobPath(descriptor);
    try {
      checkSize(descriptor.digest, descriptor.size, fstatSync(file.fd).size);
    } catch (error) {
      await file.close();
      throw error;
    }
    if (this.blobs.has(path)) await file.close();
    else if (this.files.length < maxFiles) {
      this.files.push(file);
      this.blobs.set(path, { fd: file.fd, offset: 0, size: descriptor.size });
    } else await this.gather(path, file, descriptor.size);
  }

  /** Of many images with many layers, a file for each would be more than a process may have open. */
  private async gather(path: string, file: TemporaryFile, size: number): Promise<void> {
    const offset = this.gatheredSize;
    this.gatheredSize += size;
    try {
      this.gathered ??= openTemporary(this.options.tmpDir);
      const { fd } = await this.gathered;
      await writeChunks(fd, readChunks(file.fd, size, file.name), this.options.signal, offset);
      this.blobs.set(path, { fd, offset, size });
    } catch (error) {
      throw fromSystemError(this.name, error);
    } finally {
      await file.close();
    }
  }

  /** In the order of their names, folders first. */
  private members(): TarMember[] {
    const paths = [...this.blobs.keys()].sort();
    const folders = new Set(['blobs/', ...paths.map((path) => path.slice(0, path.lastIndexOf('/') + 1))]);
    const blobs = paths.map((name) => {
      return { name, content: this.blobs.get(name)! };
    });
    return [
      ...[...folders].map((name) => ({ name })),
      ...blobs,
      { name: 'index.json', content: serializeJson(this.index, this.name, maxListSize) },
      { name: 'oci-layout', content: layoutMarker },
    ];
  }
}
