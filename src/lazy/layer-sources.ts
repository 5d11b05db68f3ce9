import { checkDigestOf } from '../format/digest';
import { openLocation } from '../layer/location';
import type { LoneIndex } from '../layer/chunk-index-section';
import type { SourceStore } from '../oci/store';
import { parseReference } from '../oci/reference';
import type { Descriptor } from '../oci/types';
import type { ByteSource } from '../source/byte-source';
import { createHttpClient } from '../source/http-client';
import { httpSource } from '../source/http-range';
import { retryingSource } from '../source/retry';
import { publicName } from '../public-name';
import { openSource } from '../store/open';
import type { LazyLayerRequest } from './messages';

/** Attempts of one read: layers that readers wait for are tried again by the layer itself, for longer. */
const retry = { attempts: 2, firstPause: 100, maxPause: 1000 } as const;

/** A place where a layer's blob can be read. */
export interface LayerSource extends ByteSource {
  /** The repository or the address, without credentials. */
  place: string;
}

interface OpenStore {
  store: Promise<SourceStore>;
  users: number;
}

/** The same repository at another host; undefined for what is in no registry. */
function mirrorOf(source: string, host: string): string | undefined {
  const reference = parseReference(source);
  if (reference.transport !== 'docker') return undefined;
  const { repository, digest, tag } = reference;
  return `docker://${host}/${repository}${digest === undefined ? `:${tag ?? 'latest'}` : `@${digest}`}`;
}

/**
 * The stores that layers are read from, each opened once for all layers of an image and for all mounts with the same credentials: so
 * connections and tokens are shared. A store is closed with the last of its sources.
 */
export class LayerSources {
  private readonly stores = new Map<string, OpenStore>();

  /** @param given one that is open already, and has all that is asked for; it stays open */
  constructor(private readonly given: SourceStore | null = null) {}

  /** Opens a layer's blob at every place that has it, the preferred one first. Mirrors that can't be opened are left out, with a warning. */
  async open(request: LazyLayerRequest, onWarning: (line: string) => void): Promise<LayerSource[]> {
    const { source, mirrors, descriptor } = request;
    const sources = [await this.openAt(source, request, descriptor)];
    for (const host of mirrors) {
      const mirror = mirrorOf(source, host);
      if (mirror === undefined) continue;
      const opened = await this.openAt(mirror, request, descriptor).catch((error: unknown) => {
        onWarning(`mirror ${host}: ${(error as Error).message}`);
        return null;
      });
      if (opened !== null) sources.push({ ...opened, name: `${opened.name} (${host})` });
    }
    return sources;
  }

  /** As open(), when the first of its bytes is read: a machine that starts goes on with what it has while its registry is away. */
  openLater(request: LazyLayerRequest, onWarning: (line: string) => void): LayerSource[] {
    const { source, mirrors, descriptor } = request;
    const mirrored = mirrors.flatMap((host) => mirrorOf(source, host) ?? []);
    return [source, ...mirrored].map((place, i) => {
      let opening: Promise<LayerSource> | null = null;
      const opened = (): Promise<LayerSource> => {
        opening ??= this.openAt(place, request, descriptor).catch((error: unknown) => {
          opening = null; // the next read tries again
          if (i > 0) onWarning(`mirror ${place}: ${(error as Error).message}`);
          throw error;
        });
        return opening;
      };
      return {
        name: `blob ${descriptor.digest}`,
        size: descriptor.size,
        place: shown(place),
        read: async (offset, length, signal) => (await opened()).read(offset, length, signal),
        stream: (offset, length, signal) => streamOf(opened, offset, length, signal),
        close: async () => (await opening?.catch(() => null))?.close(),
      };
    });
  }

  /** The chunk index that is a layer of its own, checked. */
  async readIndex(request: LazyLayerRequest): Promise<LoneIndex | undefined> {
    const { index, source } = request;
    if (index === null) return undefined;
    const blob = await this.openAt(source, request, index);
    try {
      const payload = await blob.read(0, index.size);
      checkDigestOf(`chunk index ${index.digest}`, index.digest, payload);
      return { payload, digest: index.digest };
    } finally {
      await blob.close();
    }
  }

  /** Runs `use` on the store that a layer is read from. */
  async withStore<T>(request: LazyLayerRequest, use: (store: SourceStore) => Promise<T>): Promise<T> {
    const { key, entry } = this.lease(request.source, request);
    try {
      return await use(await entry.store);
    } finally {
      await this.release(key, entry, null);
    }
  }

  private async openAt(
    place: string,
    request: LazyLayerRequest,
    descriptor: Descriptor,
  ): Promise<LayerSource> {
    const reference = parseReference(place);
    if (reference.transport === 'file') return at(place, await openLocation(place, { descriptor }));
    if (reference.transport === 'http') return at(place, await openUrl(reference.url, descriptor));
    const { key, entry } = this.lease(place, request);
    try {
      const blob = await (await entry.store).openBlob(descriptor);
      return { ...at(place, blob), close: () => this.release(key, entry, blob) };
    } catch (error) {
      await this.release(key, entry, null);
      throw error;
    }
  }

  /** To be released. */
  private lease(place: string, request: LazyLayerRequest): { key: string; entry: OpenStore } {
    const key = JSON.stringify([place, request.access]);
    const users = this.given === null ? 0 : Infinity;
    const entry = this.stores.get(key) ?? { store: this.openStore(place, request), users };
    this.stores.set(key, entry);
    entry.users++;
    return { key, entry };
  }

  private async openStore(place: string, { access }: LazyLayerRequest): Promise<SourceStore> {
    return this.given ?? (await openSource(place, { ...access, retry, concurrency: 64 })).store;
  }

  private async release(key: string, entry: OpenStore, blob: ByteSource | null): Promise<void> {
    await blob?.close();
    if (--entry.users > 0) return;
    if (this.stores.get(key) === entry) this.stores.delete(key);
    await entry.store.then(
      (store) => store.close(),
      () => undefined,
    );
  }
}

/** Nothing is asked of the server before the first read: the descriptor says how large the blob is. */
async function openUrl(url: string, { size }: Descriptor): Promise<ByteSource> {
  const client = await createHttpClient();
  const source = httpSource(client, new URL(url), { name: publicName(url), size });
  return { ...retryingSource(source, retry), close: () => client.close() };
}

/** Of a source that can't stream, all at once. */
async function* streamOf(
  opened: () => Promise<LayerSource>,
  offset: number,
  length: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  const source = await opened();
  if (source.stream === undefined) yield await source.read(offset, length, signal);
  else yield* source.stream(offset, length, signal);
}

function at(place: string, source: ByteSource): LayerSource {
  const { name, size } = source;
  return {
    name,
    size,
    place: shown(place),
    read: source.read.bind(source),
    ...(source.stream && { stream: source.stream.bind(source) }),
    close: source.close.bind(source),
  };
}

function shown(place: string): string {
  const reference = parseReference(place);
  if (reference.transport !== 'docker') return publicName(place);
  return `docker://${reference.host}/${reference.repository}`;
}
