import { fromSystemError, failure } from '../../errors';
import { spaceGuard } from '../../fs/disk-space';
import { openTemporary, type TemporaryFile } from '../../fs/temporary';
import { writeFully } from '../../fs/write-fully';
import type { JobOptions } from '../../job';
import { parseReference, type RegistryReference } from '../../oci/reference';
import type { BlobFile, SourceStore } from '../../oci/store';
import type { Descriptor } from '../../oci/types';
import type { ByteSource } from '../../source/byte-source';
import { openFileSource } from '../../source/file';
import { httpSource } from '../../source/http-range';
import { retryingSource } from '../../source/retry';
import { checkJsonSize } from '../../format/json';
import { BlobLocation } from './blob-location';
import { blobUrl } from './blobs';
import { RegistryClient } from './client';
import { ArrivingFile } from './arriving-file';
import { downloadBlob, type BlobSink } from './download';
import { getManifest, getManifestOf, isKeptAsManifest } from './manifests';
import { listReferrers, taggedReferrers } from './referrers';
import type { StoreOptions } from './options';
import { checkOptions } from '../../options';

/** A repository of a registry that images are read from. */
export class RegistrySource implements SourceStore {
  readonly name: string;
  /** What resolve() fetched, by digest: it is asked for next. */
  private readonly resolved = new Map<string, Buffer>();

  private constructor(private readonly client: RegistryClient) {
    this.name = client.name;
  }

  /**
   * @param actions what the registry is asked to allow: of a repository that is to be made, some refuse what they would grant its maker.
   * @throws IO when certificates or credentials can't be read; the registry itself is asked later.
   */
  static async open(
    reference: RegistryReference,
    options: StoreOptions,
    actions: 'pull' | 'pull,push' = 'pull',
  ): Promise<RegistrySource> {
    return new RegistrySource(await RegistryClient.open(reference, actions, options));
  }

  /** Over a client that stays the caller's to close. */
  static over(client: RegistryClient): Omit<RegistrySource, 'close'> {
    return new RegistrySource(client);
  }

  /** `reference` is a tag or a digest. */
  async resolve(reference = 'latest'): Promise<Descriptor> {
    const { descriptor, bytes } = await getManifest(this.client, reference);
    this.resolved.set(descriptor.digest, bytes);
    return descriptor;
  }

  async readJson(descriptor: Descriptor): Promise<Buffer> {
    const { digest, size, mediaType } = descriptor;
    checkJsonSize(digest, size);
    const known = this.resolved.get(digest);
    if (known?.length === size) return known;
    if (isKeptAsManifest(mediaType)) return getManifestOf(this.client, descriptor);
    const pieces: Buffer[] = [];
    await this.fetch(descriptor, async (piece) => void pieces.push(piece), {});
    return Buffer.concat(pieces);
  }

  async openBlob(descriptor: Descriptor): Promise<ByteSource> {
    const { digest, size, mediaType } = descriptor;
    if (isKeptAsManifest(mediaType)) return this.openFile(descriptor);
    const url = blobUrl(this.client, descriptor);
    const location = new BlobLocation(this.client, url);
    const get = (_url: URL, headers: Readonly<Record<string, string>>, signal?: AbortSignal) =>
      location.get(headers, signal);
    const source = httpSource({ get }, url, { name: `blob ${digest}`, size });
    const { patience } = this.client;
    return retryingSource(source, patience.options, patience.tell);
  }

  async openFile(descriptor: Descriptor, options: JobOptions = {}): Promise<BlobFile> {
    const name = `blob ${descriptor.digest}`;
    const temporary = await openTemporary(this.client.options.tmpDir);
    try {
      await this.fetch(descriptor, sinkOf(temporary, name), options);
      // A descriptor of its own: the file has no other name.
      return await openFileSource(`/proc/self/fd/${temporary.fd}`, name);
    } finally {
      await temporary.close();
    }
  }

  async openArriving(descriptor: Descriptor, options: JobOptions = {}): Promise<BlobFile> {
    const { digest, size, mediaType } = descriptor;
    if (isKeptAsManifest(mediaType)) return this.openFile(descriptor, options);
    const name = `blob ${digest}`;
    const temporary = await openTemporary(this.client.options.tmpDir);
    const sink = sinkOf(temporary, name);
    const file = new ArrivingFile(temporary, name, size, async (onArrived, stopped) => {
      const signal = options.signal === undefined ? stopped : AbortSignal.any([options.signal, stopped]);
      const store = async (piece: Buffer, offset: number): Promise<void> => {
        await sink(piece, offset);
        onArrived(offset + piece.length);
      };
      const url = blobUrl(this.client, descriptor);
      await downloadBlob(this.client, url, descriptor, store, { ...options, signal, isChecked: false });
    });
    try {
      await file.begun();
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** By the registry's own list, or where it has none by the tag that stands for one. */
  async referrers(digest: string, artifactType: string): Promise<Descriptor[]> {
    const listed = await listReferrers(this.client, digest, artifactType);
    const all = listed ?? (await taggedReferrers(this.client, digest))?.manifests ?? [];
    return all.filter((entry) => entry.artifactType === artifactType);
  }

  async close(): Promise<void> {
    await this.client.close();
  }

  private async fetch(descriptor: Descriptor, sink: BlobSink, options: JobOptions): Promise<void> {
    if (isKeptAsManifest(descriptor.mediaType)) {
      return sink(await this.readJson(descriptor), 0);
    }
    await downloadBlob(this.client, blobUrl(this.client, descriptor), descriptor, sink, options);
  }
}

/** Writes what comes to a file while the disk has room. */
function sinkOf({ fd }: TemporaryFile, name: string): BlobSink {
  const guard = spaceGuard(fd, name);
  return async (piece, offset) => {
    try {
      await guard(piece.length);
      await writeFully(fd, piece, offset);
    } catch (error) {
      // An error of the disk has no cause in the network, so nothing is fetched again for it.
      throw fromSystemError(name, error);
    }
  };
}

/**
 * A blob of a registry's repository (`docker://host/repo`) for random access, to be given to openBlob() with the same descriptor: reads fetch
 * the bytes that they ask for, which are not checked here. Closing it ends the connection.
 * @throws USAGE for what names no repository; reads reject with NOT_FOUND, MISMATCH and IO.
 */
export async function openRegistryBlob(
  repository: string,
  descriptor: Descriptor,
  options: StoreOptions = {},
): Promise<ByteSource> {
  checkOptions('openRegistryBlob', options);
  const reference = parseReference(repository);
  if (reference.transport !== 'docker') {
    throw failure('USAGE', repository, 'it names no repository of a registry', 'docker://host/repo');
  }
  const store = await RegistrySource.open(reference, options);
  const blob = await store.openBlob(descriptor);
  return {
    name: blob.name,
    size: blob.size,
    read: (offset, length, signal) => blob.read(offset, length, signal),
    close: async () => {
      await blob.close();
      await store.close();
    },
  };
}
