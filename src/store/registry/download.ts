import { createHash, type Hash } from 'node:crypto';
import { failure } from '../../errors';
import { checkSameDigest, formatDigest, parseDigest } from '../../format/digest';
import type { JobOptions } from '../../job';
import type { Descriptor } from '../../oci/types';
import { networkError, type HttpResponse } from '../../source/http-client';
import { parseContentRange } from '../../source/http-range';
import { transientFailure, transientFaultOf } from '../../source/transient';
import type { RegistryClient } from './client';
import { Ticker } from './blobs';

/** A connection that brings less than this is no progress: it counts as a failed attempt. */
const worthwhile = 64 * 1024;

/** Takes a blob's bytes in their order. */
export type BlobSink = (piece: Buffer, offset: number) => Promise<void>;

interface DownloadOptions extends JobOptions {
  /** Whether the bytes are held against the digest here; otherwise who uses them does. Default: true. */
  isChecked?: boolean;
}

/**
 * Fetches a whole blob from `url`. After a broken connection it goes on where that ended, so that nothing is fetched twice but what was
 * under way. MISMATCH when the bytes are not those of the descriptor: `sink` has got them by then.
 */
export async function downloadBlob(
  client: RegistryClient,
  url: URL,
  descriptor: Descriptor,
  sink: BlobSink,
  options: DownloadOptions = {},
): Promise<void> {
  const { digest, size } = descriptor;
  const { algorithm } = parseDigest(digest);
  const download = new Download(client, url, descriptor, sink, options);
  do await client.retrying(() => download.goOn(), options.signal);
  while (download.done < size);
  if (download.hash === null) return;
  checkSameDigest(`blob ${digest}`, digest, formatDigest(algorithm, download.hash.digest()));
}

class Download {
  done = 0;
  /** Null when somebody else hashes the bytes. */
  readonly hash: Hash | null;
  private readonly what: string;
  private readonly ticker: Ticker;

  constructor(
    private readonly client: RegistryClient,
    private readonly url: URL,
    private readonly descriptor: Descriptor,
    private readonly sink: BlobSink,
    private readonly options: DownloadOptions,
  ) {
    this.what = `blob ${descriptor.digest}`;
    const { isChecked = true } = options;
    this.hash = isChecked ? createHash(parseDigest(descriptor.digest).algorithm) : null;
    this.ticker = new Ticker(
      { phase: 'fetch', item: descriptor.digest, total: descriptor.size },
      options.onProgress,
    );
  }

  /** Fetches what is missing. Ends early, without an error, when the connection broke after some progress. */
  async goOn(): Promise<void> {
    const { signal } = this.options;
    const start = this.done;
    const headers = start === 0 ? {} : { range: `bytes=${start}-` };
    const response = await this.client.send(this.url, { method: 'GET', headers, signal });
    const skip = await this.checkAnswer(response);
    try {
      await this.receive(response, skip);
    } catch (error) {
      const fault = networkError(this.what, error, signal);
      if (transientFaultOf(fault) === null || this.done - start < worthwhile) throw fault;
    } finally {
      await response.discard();
    }
  }

  /** How many bytes of the answer are known already. */
  private async checkAnswer(response: HttpResponse): Promise<number> {
    const { size } = this.descriptor;
    const { status } = response;
    if (status !== 200 && status !== 206) throw await this.client.refused(this.what, response);
    try {
      if (status === 200) {
        const length = response.header('content-length');
        if (length !== undefined && length !== String(size)) throw this.wrongSize(length);
        return this.done; // a server that knows no ranges sends all of it once more
      }
      const range = parseContentRange(response, this.what);
      if (range.size !== null && range.size !== size) throw this.wrongSize(String(range.size));
      if (range.first !== this.done) {
        throw failure(
          'CORRUPT',
          this.what,
          `the registry sends bytes from ${range.first} on instead of ${this.done}`,
        );
      }
      return 0;
    } catch (error) {
      await response.discard();
      throw error;
    }
  }

  private async receive({ body }: HttpResponse, skip: number): Promise<void> {
    let toSkip = skip;
    for await (const received of body) {
      const piece = received.subarray(toSkip);
      toSkip -= received.length - piece.length;
      if (piece.length === 0) continue;
      if (this.done + piece.length > this.descriptor.size)
        throw this.wrongSize(`more than ${this.descriptor.size}`);
      await this.sink(piece, this.done);
      this.hash?.update(piece);
      this.done += piece.length;
      this.ticker.at(this.done);
    }
    const { size } = this.descriptor;
    if (this.done < size)
      throw transientFailure(this.what, `the registry sends ${this.done} of ${size} bytes`);
  }

  private wrongSize(size: string): Error {
    return failure(
      'MISMATCH',
      this.what,
      `the registry has ${size} bytes, its descriptor says ${this.descriptor.size}`,
    );
  }
}
