import { Mutex } from 'async-mutex';
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LruMap } from '../erofs/lru-map';
import { ChunkList, readListed } from './chunk-list';
import { readStoredChunk } from './chunk-store';

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
    let count = 0;
    for (const [i, other] of found.folders.entries()) {
      const theirs = await listOf(other);
      if (!theirs?.isLike(list)) continue;
      count += found.addStore(i, theirs, wanted);
      bytes += theirs.byteLength;
      if (wanted.size === 0 || bytes >= maxListBytes) break;
    }
    return count === 0 ? null : found;
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

  private async readFrom(folder: string, chunk: number): Promise<Buffer | null> {
    const { name, length } = this.list.chunk(chunk);
    const theirs = await readListed(folder, this.index[chunk]!);
    if (theirs === null || !theirs.name.equals(name) || theirs.length !== length) return null;
    return readStoredChunk(folder, { index: this.index[chunk]!, start: theirs.start, length });
  }

  /** How many of `wanted` the store has; they are not wanted any more. */
  private addStore(store: number, theirs: ChunkList, wanted: Map<number, number>): number {
    let count = 0;
    for (let index = 0; index < theirs.count; index++) {
      const key = theirs.keyOf(index);
      const chunk = wanted.get(key);
      if (chunk === undefined) continue;
      const { name, length } = theirs.chunk(index);
      if (length === 0 || !this.list.chunk(chunk).name.equals(name)) continue;
      wanted.delete(key);
      this.store[chunk] = store;
      this.index[chunk] = index;
      count++;
    }
    return count;
  }
}

async function listOf(folder: string): Promise<ChunkList | null> {
  const known = keptLists.get(folder);
  if (known !== undefined) return known;
  const list = await ChunkList.read(folder);
  if (list !== null) keptLists.set(folder, list, list.byteLength);
  return list;
}

/** Their folders, those last used first. */
async function storesBeside(folder: string): Promise<string[]> {
  const parent = dirname(folder);
  const names = (await readdir(parent).catch(() => [])).filter(
    (name) => /^[0-9a-f]{64}$/.test(name) && name !== basename(folder),
  );
  const stores = await Promise.all(
    names.map(async (name) => {
      const path = join(parent, name);
      return { path, usedAt: (await stat(path).catch(() => null))?.mtimeMs ?? 0 };
    }),
  );
  return stores
    .sort((a, b) => b.usedAt - a.usedAt)
    .slice(0, maxStores)
    .map(({ path }) => path);
}
