/** The chunks of a layer that were asked for because programs are known to read them: by its hot part, by a trace. */
export class Foreseen {
  private readonly chunks = new Set<number>();
  /** Of them, what was fetched for that, or is going to be, and was not read. */
  private readonly unread = new Set<number>();
  private read = 0;

  /** @param isHere it came earlier, for another reason */
  add(chunk: number, isHere: boolean): void {
    if (this.chunks.has(chunk)) return;
    this.chunks.add(chunk);
    if (!isHere) this.unread.add(chunk);
  }

  /** Chunks `first` to `last` were read for the first time. Whether all of them were foreseen. */
  onRead(first: number, last: number): boolean {
    let isForeseen = true;
    for (let chunk = first; chunk <= last; chunk++) {
      if (this.unread.delete(chunk)) this.read++;
      isForeseen &&= this.chunks.has(chunk);
    }
    return isForeseen;
  }

  /** Chunks that were fetched for that, read since and not. `isHere`: whether one came. */
  counts(isHere: (chunk: number) => boolean): { prefetchedRead: number; prefetchedUnread: number } {
    let prefetchedUnread = 0;
    for (const chunk of this.unread) if (isHere(chunk)) prefetchedUnread++;
    return { prefetchedRead: this.read, prefetchedUnread };
  }
}
