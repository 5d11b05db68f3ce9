import { failure, type SeekableErofsError } from '../../errors';
import type { JobOptions } from '../../job';
import type { Descriptor } from '../../oci/types';
import type { HttpRequest, HttpResponse } from '../../source/http-client';
import { hasBlob, Ticker } from './blobs';
import type { RegistryClient } from './client';
import { begunUpload, uploadLocation, type BegunUpload, type OpenUploads } from './open-uploads';
import { readRefusal, type Refusal } from './refusal';

/** A blob up to this size goes in one request, a larger one in several of this size. */
const uploadChunkSize = 32 << 20;
/** The specification lets a registry ask for larger ones; beyond this the blob goes in one request. */
const maxChunkSize = 1 << 30;
/** A registry may have to copy what it has got before it answers; milliseconds. */
const finishTimeout = 300_000;
/** The registry has lost the thread, or has bytes that are not ours: the upload begins anew. */
const confusion = new Set([
  'BLOB_UPLOAD_UNKNOWN',
  'BLOB_UPLOAD_INVALID',
  'DIGEST_INVALID',
  'SIZE_INVALID',
  'RANGE_INVALID',
]);
const maxRestarts = 10;

/** A blob's bytes from `start` to `end`; called again for what has to be sent again. */
export type BlobRange = (start: number, end: number) => NonNullable<HttpRequest['body']>;

/** What pushing needs to know besides. */
interface PushOptions extends Pick<JobOptions, 'onProgress'> {
  chunkSize?: number | undefined;
}

/**
 * A blob on its way to the repository. Sending may begin before all of it, and so its digest, is known. An upload that `open` keeps is used
 * before another is begun.
 */
export class BlobPush {
  private readonly upload: Upload;
  /** What is sent before the digest is known; null when nothing is under way. */
  private early: Promise<void> | null = null;
  private isEarlyOver = false;
  private readonly stopping = new AbortController();

  constructor(
    private readonly client: RegistryClient,
    content: BlobRange,
    open: OpenUploads,
    private readonly options: PushOptions = {},
  ) {
    this.upload = new Upload(client, content, open, options);
  }

  /** The first `size` bytes are as they will be: chunks of them are sent, until one is refused. */
  written(size: number): void {
    if (this.isEarlyOver) return;
    this.upload.available = size;
    if (this.upload.hasChunk) this.early ??= this.sendEarly();
  }

  /** Makes it a blob, and sends what is missing. One that the repository has already is given up. */
  async complete(descriptor: Descriptor): Promise<void> {
    this.isEarlyOver = true;
    await this.early;
    if (await this.client.retrying(() => hasBlob(this.client, descriptor))) return this.upload.giveUp();
    this.upload.describe(descriptor, this.options.onProgress);
    while (!this.upload.isDone) await this.client.retrying(() => this.upload.step());
  }

  /** Ends the sending, and tells the registry that no more will come. */
  async giveUp(): Promise<void> {
    this.isEarlyOver = true;
    this.stopping.abort();
    await this.early;
    await this.upload.giveUp();
  }

  private async sendEarly(): Promise<void> {
    const { signal } = this.stopping;
    try {
      while (!this.isEarlyOver && this.upload.hasChunk)
        await this.client.retrying(() => this.upload.step(signal), signal);
    } catch {
      this.isEarlyOver = true; // complete() tries again, and says what is wrong
    } finally {
      this.early = null;
    }
  }
}

class Upload {
  isDone = false;
  /** Bytes that are there to be sent, until the descriptor says how many there are in all. */
  available = 0;
  private descriptor: Descriptor | null = null;
  /** Where the registry wants the next bytes; null before it was asked. */
  private location: URL | null = null;
  private offset = 0;
  /** After a request without an answer: what the registry has is anybody's guess. */
  private isUncertain = false;
  private isWhole = false;
  private restarts = 0;
  private chunkSize: number;
  private ticker: Ticker | null = null;

  constructor(
    private readonly client: RegistryClient,
    private readonly content: BlobRange,
    private readonly open: OpenUploads,
    { chunkSize = uploadChunkSize }: PushOptions,
  ) {
    this.chunkSize = chunkSize;
  }

  /** Says which blob it is. */
  describe(descriptor: Descriptor, onProgress: PushOptions['onProgress']): void {
    this.descriptor = descriptor;
    this.available = descriptor.size;
    this.ticker = new Ticker({ phase: 'push', item: descriptor.digest, total: descriptor.size }, onProgress);
  }

  /** Whether a step can be made before the descriptor is known. */
  get hasChunk(): boolean {
    return !this.isWhole && this.available - this.offset >= this.chunkSize;
  }

  private get what(): string {
    return this.descriptor === null ? 'a blob' : `blob ${this.descriptor.digest}`;
  }

  /** One request on the way, or two after a fault. */
  async step(signal?: AbortSignal): Promise<void> {
    if (this.isUncertain) await this.recover();
    if (this.isDone) return;
    if (this.location === null) return this.begin();
    this.isUncertain = true; // until an answer says otherwise
    const { descriptor, offset } = this;
    const fitsOnce = offset === 0 && (this.isWhole || this.available <= this.chunkSize);
    if (descriptor !== null && (fitsOnce || offset === descriptor.size))
      await this.finish(this.location, descriptor);
    else await this.sendChunk(this.location, signal);
    this.isUncertain = false;
  }

  private async begin(): Promise<void> {
    this.isUncertain = false;
    const { location, minChunkSize } = this.open.take() ?? (await this.beginAnother());
    this.moveTo(location);
    if (minChunkSize > maxChunkSize) this.isWhole = true;
    else if (minChunkSize > this.chunkSize) this.chunkSize = minChunkSize;
  }

  private async beginAnother(): Promise<BegunUpload> {
    const url = this.client.url('blobs/uploads/');
    const response = await this.client.send(url, { method: 'POST', headers: { 'content-length': '0' } });
    if (response.status !== 202) throw await this.client.refused(this.what, response);
    await response.discard();
    const upload = begunUpload(response);
    if (typeof upload === 'string') throw this.refuse(upload);
    return upload;
  }

  private async sendChunk(location: URL, signal: AbortSignal | undefined): Promise<void> {
    const end = Math.min(this.offset + this.chunkSize, this.available);
    const response = await this.client.send(location, {
      method: 'PATCH',
      signal,
      headers: {
        'content-type': 'application/octet-stream',
        'content-length': String(end - this.offset),
        'content-range': `${this.offset}-${end - 1}`,
      },
      body: () => this.content(this.offset, end),
      timeout: finishTimeout,
    });
    if (response.status !== 202 && response.status !== 201 && response.status !== 204) {
      const refusal = await readRefusal(response);
      // Some registries take no chunks; what they say then differs.
      this.isWhole ||= this.offset === 0 && [400, 404, 405, 411, 415, 501].includes(refusal.status);
      return this.beginAnew(refusal, this.isWhole || isConfused(refusal));
    }
    const received = receivedBy(response) ?? end;
    this.takeLocation(response);
    await response.discard();
    if (received <= this.offset || received > end)
      throw this.refuse(`takes bytes up to ${received} where ${end} were sent`);
    this.offset = received;
    this.ticker?.at(received);
  }

  /** The last request: with all bytes, or, when they are there, without any. */
  private async finish(location: URL, { digest, size }: Descriptor): Promise<void> {
    const url = new URL(location);
    url.searchParams.set('digest', digest);
    const { offset } = this;
    const response = await this.client.send(url, {
      method: 'PUT',
      headers: { 'content-type': 'application/octet-stream', 'content-length': String(size - offset) },
      ...(offset < size && { body: () => this.content(offset, size) }),
      timeout: finishTimeout,
    });
    if (response.status < 200 || response.status > 204) {
      const refusal = await readRefusal(response);
      return this.beginAnew(refusal, isConfused(refusal));
    }
    await response.discard();
    this.open.delete(location);
    this.isDone = true;
    this.ticker?.at(size);
  }

  /** After a fault: the blob may be complete, or a part of it may have arrived. */
  private async recover(): Promise<void> {
    if (this.descriptor !== null && (await hasBlob(this.client, this.descriptor))) {
      if (this.location !== null) this.open.delete(this.location);
      this.isDone = true;
      return;
    }
    const response = await this.client.send(this.location!, { method: 'GET' });
    const received = receivedBy(response) ?? 0;
    if (response.status !== 204 && response.status !== 200) {
      const refusal = await readRefusal(response);
      // Whatever the reason, the upload can't go on: another one may. Unless it is the registry as a whole that refuses.
      return this.beginAnew(
        refusal,
        refusal.status < 500 && ![401, 403, 408, 425, 429].includes(refusal.status),
      );
    }
    this.takeLocation(response);
    await response.discard();
    if (received > this.available) throw this.refuse(`has ${received} bytes of ${this.available}`);
    this.offset = received;
    this.isUncertain = false;
  }

  /** @throws what the registry said, when that is not worth another upload, or comes again and again. */
  private async beginAnew(refusal: Refusal, isWorthwhile: boolean): Promise<void> {
    if (!isWorthwhile || ++this.restarts > maxRestarts) throw await this.client.errorOf(this.what, refusal);
    await this.giveUp();
  }

  /** Tells the registry that no more will come; a later step begins anew. */
  async giveUp(): Promise<void> {
    const { location } = this;
    this.location = null;
    this.offset = 0;
    if (location === null) return;
    this.open.delete(location);
    await this.client.sendLast(location, { method: 'DELETE' });
  }

  /** Where the registry wants to be asked next; where it always was when it doesn't say. */
  private takeLocation(response: HttpResponse): void {
    if (response.header('location') === undefined && this.location !== null) return;
    const location = uploadLocation(response);
    if (typeof location === 'string') throw this.refuse(location);
    this.moveTo(location);
  }

  private moveTo(location: URL): void {
    if (this.location !== null) this.open.delete(this.location);
    this.location = location;
    this.open.add(location);
  }

  private refuse(why: string): SeekableErofsError {
    return failure(
      'IO',
      this.what,
      `the registry ${why}`,
      'see how the registry, or the proxy before it, is set up',
    );
  }
}

function isConfused({ status, codes }: Refusal): boolean {
  return status === 404 || status === 416 || codes.some((code) => confusion.has(code));
}

/** How many bytes an upload has, as its Range header says; null without one. `0-0` is what registries say of none. */
function receivedBy(response: HttpResponse): number | null {
  const last = /^(?:bytes=)?0-(\d{1,15})$/.exec(response.header('range') ?? '')?.[1];
  if (last === undefined) return null;
  return last === '0' ? 0 : Number(last) + 1;
}
