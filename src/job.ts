/** How far a long operation is. */
export interface ProgressEvent {
  /** What is being done: "inflate", "plan", "encode", "decode", "hash", "copy" … */
  phase: string;
  /** What it is done to, e.g. a layer's digest; absent when there is only one thing. */
  item?: string;
  done: number;
  /** 0 while unknown. */
  total: number;
  unit: 'bytes' | 'layers' | 'images';
}

/** What every long call takes. */
export interface JobOptions {
  /** Aborting it ends the call with an error of code CANCELLED and leaves nothing half-written. */
  signal?: AbortSignal | undefined;
  /** Called a few times a second at most. */
  onProgress?: ((event: ProgressEvent) => void) | undefined;
}

/** What the calls that use the machine's cores and disk take as well. */
export interface ResourceOptions extends JobOptions {
  /** Worker threads; default: all cores. */
  threads?: number | undefined;
  /** Folder for unlinked temporary files; default: the system's. */
  tmpDir?: string | undefined;
}

/** A line about something odd that was tolerated. */
export interface WarningOptions {
  /** Called with each such line. */
  onWarning?: ((line: string) => void) | undefined;
}
