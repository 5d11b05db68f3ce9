import { checkDigestOf, parseDigest } from '../../format/digest';
import { checkJsonSize, maxDocumentSize, maxListSize } from '../../format/json';
import { failure, fromSystemError, SeekableErofsError } from '../../errors';
import type { BlobFile, SourceStore } from '../../oci/store';
import { parseIndex } from '../../oci/manifest';
import type { Descriptor, Index } from '../../oci/types';
import type { ByteSource } from '../../source/byte-source';
import { checkSize } from '../blob-content';
import { checkLayoutMarker, findReference, findReferrers } from './index-json';

/** A file of a layout, for TypeScript (read) and for native code (fd, offset, size). */
export interface LayoutFile extends ByteSource {
  readonly fd: number;
  readonly offset: number;
}

/** Where the files of a layout are: in a folder or in an archive. */
export interface LayoutFiles {
  /** Opens the file at `path`, relative to the layout, with `/` between. NOT_FOUND when there is none; errors call it `name`. */
  open(path: string, name: string): Promise<LayoutFile>;
  close(): Promise<void>;
}

/** Where a blob lies in a layout. */
export function blobPath({ digest }: Pick<Descriptor, 'digest'>): string {
  const { algorithm, hex } = parseDigest(digest);
  return `blobs/${algorithm}/${hex}`;
}

/** An image layout that images are read from. */
export class LayoutSource implements SourceStore {
  private constructor(
    readonly name: string,
    private readonly files: LayoutFiles,
    private readonly index: Index,
  ) {}

  /**
   * Opens a layout; `files` is closed with it, also when this fails.
   * @throws NOT_FOUND when it is no layout, CORRUPT, UNSUPPORTED for a later version.
   */
  static async open(name: string, files: LayoutFiles): Promise<LayoutSource> {
    try {
      checkLayoutMarker(await readMarker(name, files), `${name}, oci-layout`);
      const what = `${name}, index.json`;
      return new LayoutSource(name, files, await readLayoutIndex(files, what));
    } catch (error) {
      await files.close();
      throw fromSystemError(name, error);
    }
  }

  async resolve(reference: string | undefined): Promise<Descriptor> {
    return findReference(this.index, reference, this.name);
  }

  async readJson(descriptor: Descriptor): Promise<Buffer> {
    return readJsonBlob(this.files, descriptor);
  }

  async openBlob(descriptor: Descriptor): Promise<ByteSource> {
    return openBlob(this.files, descriptor);
  }

  async openFile(descriptor: Descriptor): Promise<BlobFile> {
    return openBlob(this.files, descriptor);
  }

  async referrers(digest: string, artifactType: string): Promise<Descriptor[]> {
    const list = await readReferrers(this.index, digest, (descriptor) => this.readJson(descriptor));
    return list?.manifests.filter((entry) => entry.artifactType === artifactType) ?? [];
  }

  async close(): Promise<void> {
    await this.files.close();
  }
}

/** The list of what is about a manifest of a layout; null when there is none. */
export async function readReferrers(
  index: Index,
  digest: string,
  readJson: (descriptor: Descriptor) => Promise<Buffer>,
): Promise<Index | null> {
  const list = findReferrers(index, digest);
  return list === undefined ? null : parseIndex(await readJson(list), list.digest);
}

/** A small blob, whole, checked against its digest and size. */
export async function readJsonBlob(files: LayoutFiles, descriptor: Descriptor): Promise<Buffer> {
  const { digest, size } = descriptor;
  checkJsonSize(digest, size);
  const bytes = await readAndClose(await openBlob(files, descriptor), maxDocumentSize);
  checkDigestOf(digest, digest, bytes);
  return bytes;
}

async function openBlob(files: LayoutFiles, descriptor: Descriptor): Promise<LayoutFile> {
  const { digest, size } = descriptor;
  const file = await files.open(blobPath(descriptor), `blob ${digest}`);
  try {
    checkSize(digest, size, file.size);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** A file of JSON, whole; UNSUPPORTED when it has more than `limit` bytes. */
export async function readSmallFile(
  files: LayoutFiles,
  path: string,
  name: string,
  limit = maxDocumentSize,
): Promise<Buffer> {
  return readAndClose(await files.open(path, name), limit);
}

/** A layout's index.json, which errors call `what`. */
export async function readLayoutIndex(files: LayoutFiles, what: string): Promise<Index> {
  return parseIndex(await readSmallFile(files, 'index.json', what, maxListSize), what, maxListSize);
}

async function readMarker(name: string, files: LayoutFiles): Promise<Buffer> {
  try {
    return await readSmallFile(files, 'oci-layout', `${name}, oci-layout`);
  } catch (error) {
    if (!(error instanceof SeekableErofsError) || error.code !== 'NOT_FOUND') throw error;
    throw failure('NOT_FOUND', name, 'no OCI image layout there', 'a layout has a file "oci-layout"');
  }
}

async function readAndClose(file: LayoutFile, limit: number): Promise<Buffer> {
  try {
    checkJsonSize(file.name, file.size, limit);
    return await file.read(0, file.size);
  } finally {
    await file.close();
  }
}
