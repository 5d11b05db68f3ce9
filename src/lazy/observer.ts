import type { Urgency } from './fetch-queue';

/** What went wrong with a chunk: its bytes, the network, the wait for it, the store. */
export type LazyFault = 'frame' | 'network' | 'timeout' | 'disk';

/** Is told what layers do, for metrics. */
export interface LazyObserver {
  /** A request was begun. */
  onRequest(what: { urgency: Urgency; source: string }): void;
  /** Bytes of the blob came. */
  onFetched(what: { urgency: Urgency; source: string; bytes: number }): void;
  /** Readers got a chunk that they waited for, for so long. */
  onDemand(milliseconds: number): void;
  onFault(kind: LazyFault): void;
}
