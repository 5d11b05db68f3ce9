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
  /** As read(), in pieces as they come from the network; not tried again after a fault. Sources that have bytes at once leave it out. */
  stream?(offset: number, length: number, signal?: AbortSignal): AsyncIterable<Buffer>;
  /** Lets go of what it holds open. No read may follow. */
  close(): Promise<void>;
}

/** `length` bytes from `offset`, as soon as they come where the source can give parts of them. Rejects as its read(). */
export async function* piecesOf(
  source: ByteSource,
  offset: number,
  length: number,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  if (source.stream === undefined) yield await source.read(offset, length, signal);
  else yield* source.stream(offset, length, signal);
}
