import type { LayerRecord } from './layer-record';

/** A layer that some conversion of the fleet has made, and where its blobs are: `docker://HOST/REPO`, or null where a cache alone has them. */
export interface SharedLayer {
  record: LayerRecord;
  place: string | null;
}

/** How a conversion comes by a layer. */
export interface LayerWork<T> {
  signal?: AbortSignal | undefined;
  /** Takes over what another made; null when its blobs can't be had any more. */
  take: (layer: SharedLayer) => Promise<T | null>;
  make: () => Promise<{ made: T; shared: SharedLayer }>;
}

/** What conversions share with those in other processes, and on other machines (src/service/). */
export interface Fleet {
  /** The layer called `name` (layer-record.ts): converted by one conversion of the fleet, taken over by the others. */
  layer<T>(name: string, work: LayerWork<T>): Promise<T>;
  /** Is told of a manifest or index before it gets its name: what a registry then reports is our own work. */
  naming(digest: string): Promise<void>;
}
