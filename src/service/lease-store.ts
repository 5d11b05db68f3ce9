/** What a call for a lease comes to: it is ours, another's for so many milliseconds more, or what it was for has been made. */
export type Claim = { state: 'ours' } | { state: 'held'; left: number } | { state: 'made'; result: string };

/** A rate that several share: so much a second, `burst` of it at once. */
export interface SharedRate {
  perSecond: number;
  burst: number;
}

/**
 * What workers agree by. A lease is somebody's (`holder`) until its time is over, unless he renews it; a result takes its place. Each call is
 * one step that nothing comes between. Redis has it (redis-leases.ts), and a simulation in virtual time.
 */
export interface LeaseStore {
  /** Times in milliseconds. */
  claim(name: string, holder: string, time: number): Promise<Claim>;
  /** False when the lease is not the holder's any more. */
  renew(name: string, holder: string, time: number): Promise<boolean>;
  /** Puts the result there, whoever has the lease by now, and ends the holder's. */
  finish(name: string, holder: string, result: string): Promise<void>;
  release(name: string, holder: string): Promise<void>;
  /** Removes a result that turned out to be useless, unless there is another by now. */
  forget(name: string, result: string): Promise<void>;
  /** Takes `amount` of a rate; how many milliseconds to wait before using it, and how many workers there are to share it. */
  reserve(bucket: string, amount: number, rate: SharedRate): Promise<{ wait: number; workers: number }>;
}
