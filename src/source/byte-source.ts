/**
 * Random access to bytes of a fixed length: a file, a part of one, a web server's object, a registry's blob.
 * Reads may run side by side.
 */
export interface ByteSource {
  /** Length in bytes. */
  readonly size: number;
  /** What errors call it. */
  readonly name: string;
  /**
   * Exactly `length` bytes from `offset`. Rejects with CORRUPT when the source ends before, with IO when it can't be read.
   */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Buffer>;
  /** Lets go of what it holds open. No read may follow. */
  close(): Promise<void>;
}
