import { fstatSync, writeFileSync } from 'node:fs';
import { failure, fromSystemError } from '../errors';
import { createAtomicFile, type AtomicFileOptions } from '../fs/atomic-file';
import { openTemporary, type TemporaryFile } from '../fs/temporary';
import type { ResourceOptions } from '../job';
import { maxListSize, serializeJson } from '../format/json';
import type { BlobDraft, DestinationStore } from '../oci/store';
import type { Descriptor, Index } from '../oci/types';
import { openArchiveFile } from './archive-file';
import { openArchiveFiles } from './archive-files';
import { checkContent, checkSize } from './blob-content';
import { emptyIndex, layoutMarker, withReference } from './layout-index';
import { blobPath, LayoutSource } from './layout-source';
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

/** What writing an archive takes. */
type ArchiveOptions = ResourceOptions & AtomicFileOptions;

/**
 * A tar of a layout being written. Blobs wait in unlinked temporary files until close(), which writes the archive
 * beside its name and renames it, or streams it to standard output (`-`). The same images give the same bytes.
 */
export class OciArchiveDestination implements DestinationStore {
  readonly name: string;
  /** By path in the archive. */
  private readonly blobs = new Map<string, { file: TemporaryFile; size: number }>();
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
    else if (process.stdout.isTTY)
      throw failure('USAGE', `oci-archive:${path}`, 'standard output is a terminal');
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
    const files = [...this.blobs.values()];
    this.blobs.clear();
    for (const { file } of files) await file.close();
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
    else this.blobs.set(path, { file, size: descriptor.size });
  }

  /** In the order of their names, folders first. */
  private members(): TarMember[] {
    const paths = [...this.blobs.keys()].sort();
    const folders = new Set(['blobs/', ...paths.map((path) => path.slice(0, path.lastIndexOf('/') + 1))]);
    const blobs = paths.map((name) => {
      const { file, size } = this.blobs.get(name)!;
      return { name, content: { fd: file.fd, size } };
    });
    return [
      ...[...folders].map((name) => ({ name })),
      ...blobs,
      { name: 'index.json', content: serializeJson(this.index, this.name, maxListSize) },
      { name: 'oci-layout', content: layoutMarker },
    ];
  }
}
