import { Mutex } from 'async-mutex';
import { lstat, readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LruMap } from '../erofs/lru-map';
import { isPrivate } from '../fs/private-folder';
import { ChunkList, readListed } from './chunk-list';
import { StoredDigests, readStoredChunk } from './chunk-store';

/** Stores that are looked at, the ones last used first … */
const maxStores = 1000;
/** … and bytes of their lists. */
const maxListBytes = 64 << 20;
/** Chunks of a layer that are looked for in others. */
const maxWanted = 200_000;
const nowhere = -1;

/** Lists that were read, by their stores, for the next layer: of one that has changed since, the entry of what is taken is read once more. */
const keptLists = new LruMap<string, ChunkList>(16 << 20);
/** Layers are looked for one after the other: the first reads the lists, and a mount waits for all. */
const finding = new Mutex();

/** What is looked for in a store. */
interface Search {
  /** Chunks of the layer, by the first bytes of their names. */
  wanted: ReadonlyMap<number, number>;
  /** Those that a store has. */
  here: Set<number>;
  /** Whether the store has a chunk of its own now. */
  isHere: (index: number) => boolean;
}

/**
 * Which chunks of a layer other stores have: those of the same checksum, decoded and compared with that when they came. What is taken is
 * compared with the digest that it was stored with once more. Eight bytes of memory a chunk, and nothing on disk but the stores' lists; 16 MiB of lists at most are kept in memory.
 */
export class SharedChunks {
  private constructor(
    private readonly list: ChunkList,
    private readonly folders: readonly string[],
    /** By chunk: index into `folders`, and the chunk's number there. */
    private readonly store: Int32Array,
    private readonly index: Uint32Array,
  ) {}

  /** Looks through the stores beside the one in `folder`; null when they have nothing of `list`. */
  static find(folder: string, list: ChunkList): Promise<SharedChunks | null> {
    return finding.runExclusive(() => SharedChunks.findOne(folder, list));
  }

  private static async findOne(folder: string, list: ChunkList): Promise<SharedChunks | null> {
    const wanted = new Map<number, number>();
    for (let chunk = 0; chunk < list.count && wanted.size < maxWanted; chunk++)
      if (list.chunk(chunk).length > 0) wanted.set(list.keyOf(chunk), chunk);
    const found = new SharedChunks(
      list,
      await storesBeside(folder),
      new Int32Array(list.count).fill(nowhere),
      new Uint32Array(list.count),
    );
    let bytes = 0;
    const here = new Set<number>();
    for (const [i, other] of found.folders.entries()) {
      const theirs = await listOf(other);
      if (!theirs?.isLike(list)) continue;
      const stored = await StoredDigests.read(other);
      found.addStore(i, theirs, { wanted, here, isHere: (index) => stored.has(index) });
      bytes += theirs.byteLength;
      if (here.size === wanted.size || bytes >= maxListBytes) break;
    }
    found.addTwins(wanted);
    return found.store.some((store) => store !== nowhere) ? found : null;
  }

  /** Whether another store may have a chunk. */
  has(chunk: number): boolean {
    return this.store[chunk] !== undefined && this.store[chunk] !== nowhere;
  }

  /** The bytes of a chunk; null when it turns out not to be there: then it is not looked for again. */
  async read(chunk: number): Promise<Buffer | null> {
    const folder = this.folders[this.store[chunk]!];
    if (folder === undefined) return null;
    const bytes = await this.readFrom(folder, chunk).catch(() => null);
    if (bytes === null) this.store[chunk] = nowhere;
    return bytes;
  }

  /** From now on no store has any: what was taken turned out not to be the layer, though each chunk was what its store says. */
  forget(): void {
    this.store.fill(nowhere);
  }

  private async readFrom(folder: string, chunk: number): Promise<Buffer | null> {
    const { name, length } = this.list.chunk(chunk);
    const theirs = await readListed(folder, this.index[chunk]!);
    if (theirs === null || !theirs.name.equals(name) || theirs.length !== length) return null;
    return readStoredChunk(folder, { index: this.index[chunk]!, start: theirs.start, length });
  }

  /** Notes which of the wanted chunks the store is about: one that has a chunk goes before those that may have it later, by then. */
  private addStore(store: number, theirs: ChunkList, { wanted, here, isHere }: Search): void {
    for (let index = 0; index < theirs.count; index++) {
      const chunk = wanted.get(theirs.keyOf(index));
      if (chunk === undefined || here.has(chunk) || (this.has(chunk) && !isHere(index))) continue;
      const { name, length } = theirs.chunk(index);
      if (length === 0 || !this.list.chunk(chunk).name.equals(name)) continue;
      this.store[chunk] = store;
      this.index[chunk] = index;
      if (isHere(index)) here.add(chunk);
    }
  }

  /** Chunks that the layer has more than once: all are where one of them is. */
  private addTwins(wanted: ReadonlyMap<number, number>): void {
    for (let chunk = 0; chunk < this.list.count; chunk++) {
      const twin = wanted.get(this.list.keyOf(chunk));
      if (twin === undefined || this.has(chunk) || !this.has(twin)) continue;
      if (!this.list.chunk(chunk).name.equals(this.list.chunk(twin).name)) continue;
      this.store[chunk] = this.store[twin]!;
      this.index[chunk] = this.index[twin]!;
    }
  }
}

async function listOf(folder: string): Promise<ChunkList | null> {
  const known = keptLists.get(folder);
  if (known !== undefined) return known;
  const list = await ChunkList.read(folder);
  if (list !== null) keptLists.set(folder, list, list.byteLength);
  return list;
}

/** Their folders, those last used first; what is not this user's alone is none. */
async function storesBeside(folder: string): Promise<string[]> {
  const parent = dirname(folder);
  const names = (await readdir(parent).catch(() => [])).filter(
    (name) => /^[0-9a-f]{64}$/.test(name) && name !== basename(folder),
  );
  const stores = await Promise.all(
    names.map(async (name) => {
      const path = join(parent, name);
      const status = await lstat(path).catch(() => null);
      const isOurs = status !== null && isPrivate(status, process.geteuid?.());
      return isOurs ? [{ path, usedAt: status.mtimeMs }] : [];
    }),
  );
  return stores
    .flat()
    .sort((a, b) => b.usedAt - a.usedAt)
    .slice(0, maxStores)
    .map(({ path }) => path);
}
