import type { CompressedContext } from './context';

const windowSize = 4096;
const windowCount = 4;

/** An inode's index, read piece by piece. No record may cross a multiple of 32 bytes. */
export class IndexWindow {
  readonly #windows = new Map<number, Promise<Buffer>>();

  /** The index is [start, end) of the metadata area. */
  constructor(
    private readonly context: Pick<CompressedContext, 'readMetadata'>,
    private readonly start: number,
    private readonly end: number,
  ) {}

  /** The bytes from `offset` up to the end of its window: at least the whole record, or CORRUPT. */
  async from(offset: number): Promise<Buffer> {
    const number = Math.floor(offset / windowSize);
    const begin = Math.max(number * windowSize, this.start);
    const window = await (this.#windows.get(number) ?? this.#read(number, begin));
    return window.subarray(offset - begin);
  }

  #read(number: number, begin: number): Promise<Buffer> {
    const oldest = this.#windows.keys().next();
    if (this.#windows.size >= windowCount && oldest.done !== true) this.#windows.delete(oldest.value);
    const end = Math.min((number + 1) * windowSize, this.end);
    const window = this.context.readMetadata(begin, end - begin);
    this.#windows.set(number, window);
    window.catch(() => this.#windows.delete(number)); // the next reader tries again
    return window;
  }
}
