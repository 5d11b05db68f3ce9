import { fstatSync } from 'node:fs';
import { Readable } from 'node:stream';
import { failure } from '../../errors';
import { openTemporary, type TemporaryFile } from '../../fs/temporary';
import { parseReference, type RegistryReference } from '../../oci/reference';
import type { BlobDraft, BlobFile, DestinationStore } from '../../oci/store';
import type { JobOptions } from '../../job';
import type { Descriptor } from '../../oci/types';
import { isDigest } from '../../format/digest';
import { checkContent, checkSize } from '../blob-content';
import { readChunks } from '../../fs/fd-chunks';
import { checkJsonSize } from '../../format/json';
import { hasBlob } from './blobs';
import { RegistryClient } from './client';
import { getManifestOf, hasManifest, isKeptAsManifest, putManifest } from './manifests';
import { mountBlob } from './mount';
import { OpenUploads } from './open-uploads';
import type { DestinationOptions, StoreOptions } from './options';
import { BlobPush, type BlobRange } from './upload';
import { taggedReferrers } from './referrers';
import { RegistrySource } from './source';
import { referrersTag, withReferrer } from '../../oci/referrers';

/** What a registry is written with. Exported for its test. */
export interface RegistryDestinationOptions extends DestinationOptions {
  /** Bytes of a request of an upload; larger blobs take several. For tests. */
  uploadChunkSize?: number | undefined;
}

/**
 * A repository of a registry that images are written to. Blobs and manifests go there, by their digests, as soon as they are complete;
 * the tag is set last. What a failure leaves has no tag, and is the registry's to collect.
 */
export class RegistryDestination implements DestinationStore {
  readonly name: string;
  /** Manifests that were written: setReference() needs one of them again. */
  private readonly manifests = new Map<string, Uint8Array>();
  private readonly present = new Set<string>();
  private readonly uploads = new OpenUploads();

  private constructor(
    private readonly client: RegistryClient,
    private readonly reference: RegistryReference,
    /** Another repository of the same registry. */
    private readonly mountFrom: string | null,
    private readonly options: RegistryDestinationOptions,
  ) {
    this.name = client.name;
  }

  /** @throws USAGE for a tag and a digest at once, IO when certificates or credentials can't be read. */
  static async open(
    reference: RegistryReference,
    options: RegistryDestinationOptions,
  ): Promise<RegistryDestination> {
    const { repository, tag, digest } = reference;
    if (tag !== undefined && digest !== undefined) {
      throw failure(
        'USAGE',
        `${repository}:${tag}@${digest}`,
        'an image is written under a tag or a digest, not both',
      );
    }
    const client = await RegistryClient.open(reference, 'pull,push', options);
    return new RegistryDestination(client, reference, neighbour(reference, options.source), options);
  }

  /** A blob of the source that the registry has in another repository is taken over from there. */
  async has(descriptor: Descriptor): Promise<boolean> {
    const { digest, mediaType } = descriptor;
    if (this.present.has(digest)) return true;
    const isThere = isKeptAsManifest(mediaType)
      ? await hasManifest(this.client, descriptor)
      : await this.client.retrying(() => this.hasOrMounts(descriptor));
    if (isThere) this.present.add(digest);
    return isThere;
  }

  /** @param place `docker://HOST/REPO` */
  async takeOver(descriptor: Descriptor, place: string): Promise<boolean> {
    const from = neighbour(this.reference, place);
    if (from === null || this.present.has(descriptor.digest)) return this.has(descriptor);
    const isThere = await this.client.retrying(() => mountBlob(this.client, descriptor, from, this.uploads));
    if (isThere) this.present.add(descriptor.digest);
    return isThere;
  }

  async createBlob(): Promise<BlobDraft> {
    const file = await openTemporary(this.options.tmpDir);
    const push = this.pushOf(rangesOf(file, this.name), this.options.onProgress);
    return {
      fd: file.fd,
      name: this.name,
      isTemporary: true,
      onWritten: (size) => {
        push.written(size);
      },
      commit: async (descriptor) => {
        try {
          await this.commit(file, push, descriptor);
        } finally {
          await file.close();
        }
      },
      discard: async () => {
        await push.giveUp();
        await file.close();
      },
    };
  }

  async writeBlob(descriptor: Descriptor, bytes: Uint8Array): Promise<void> {
    checkContent(descriptor, bytes);
    if (isKeptAsManifest(descriptor.mediaType)) await this.putManifest(descriptor, bytes);
    else
      await this.complete(
        this.pushOf((start, end) => Buffer.from(bytes.subarray(start, end))),
        descriptor,
      );
  }

  openWritten(descriptor: Descriptor, options?: JobOptions): Promise<BlobFile> {
    return RegistrySource.over(this.client).openFile(descriptor, options);
  }

  async setReference(reference: string | undefined, descriptor: Descriptor): Promise<void> {
    const { digest } = descriptor;
    if (reference !== undefined && isDigest(reference) && reference !== digest) {
      throw failure(
        'MISMATCH',
        this.name,
        `the image is ${digest}, not ${reference}`,
        'give a tag in its place',
      );
    }
    const bytes = this.manifests.get(digest) ?? (await getManifestOf(this.client, descriptor));
    await putManifest(this.client, reference ?? digest, descriptor, bytes);
  }

  /** Registries that list referrers themselves say so; for others an index is the list. */
  async addReferrer(subject: string, entry: Descriptor, bytes: Uint8Array): Promise<void> {
    checkContent(entry, bytes);
    if ((await putManifest(this.client, entry.digest, entry, bytes)) === subject) return;
    const tag = referrersTag(subject);
    const list = withReferrer(await taggedReferrers(this.client, subject), entry, `${this.name}:${tag}`);
    await putManifest(this.client, tag, list.descriptor, list.bytes);
  }

  async close(): Promise<void> {
    await this.uploads.cancel(this.client);
    await this.client.close();
  }

  async abort(): Promise<void> {
    this.client.stop();
    await this.uploads.cancel(this.client);
    await this.client.close();
  }

  private async hasOrMounts(descriptor: Descriptor): Promise<boolean> {
    if (await hasBlob(this.client, descriptor)) return true;
    return this.mountFrom !== null && mountBlob(this.client, descriptor, this.mountFrom, this.uploads);
  }

  private async commit({ fd }: TemporaryFile, push: BlobPush, descriptor: Descriptor): Promise<void> {
    const { digest, size, mediaType } = descriptor;
    checkSize(digest, size, fstatSync(fd).size);
    if (!isKeptAsManifest(mediaType)) return this.complete(push, descriptor);
    checkJsonSize(digest, size);
    const pieces: Buffer[] = [];
    for await (const piece of readChunks(fd, size, this.name)) pieces.push(piece);
    await this.writeBlob(descriptor, Buffer.concat(pieces));
  }

  private async putManifest(descriptor: Descriptor, bytes: Uint8Array): Promise<void> {
    this.manifests.set(descriptor.digest, bytes);
    if (await this.has(descriptor)) return;
    await putManifest(this.client, descriptor.digest, descriptor, bytes);
    this.present.add(descriptor.digest);
  }

  private pushOf(content: BlobRange, onProgress?: StoreOptions['onProgress']): BlobPush {
    const { uploadChunkSize: chunkSize } = this.options;
    return new BlobPush(this.client, content, this.uploads, { chunkSize, onProgress });
  }

  private async complete(push: BlobPush, descriptor: Descriptor): Promise<void> {
    if (this.present.has(descriptor.digest)) return push.giveUp();
    await push.complete(descriptor);
    this.present.add(descriptor.digest);
  }
}

function rangesOf({ fd }: TemporaryFile, name: string): BlobRange {
  return (start, end) => Readable.from(readChunks(fd, end, name, start), { objectMode: false });
}

/** The source's repository, when it is another one of the same registry. */
function neighbour({ host, repository }: RegistryReference, source: string | undefined): string | null {
  const other = source === undefined ? null : parseReference(source);
  if (other?.transport !== 'docker' || other.host !== host || other.repository === repository) return null;
  return other.repository;
}
