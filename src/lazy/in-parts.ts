/** Cuts what comes in pieces into parts of these sizes, each as soon as its last byte is here. Bytes behind the last part are left out. */
export async function* inParts(
  pieces: AsyncIterable<Buffer>,
  sizes: readonly number[],
): AsyncGenerator<Buffer> {
  let part = 0;
  let held: Buffer | null = null;
  let done = 0;
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length && part < sizes.length;) {
      held ??= Buffer.allocUnsafe(sizes[part]!);
      const count = piece.copy(held, done, at);
      at += count;
      done += count;
      if (done < held.length) continue;
      yield held;
      [held, done] = [null, 0];
      part++;
    }
  }
}
