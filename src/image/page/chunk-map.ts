import type { PlacedExtent } from '../../erofs/data';
import { checksumOf, chunkAt } from '../../layer/decoded-range';
import type { FrameTable } from '../../native/binding';
import { chunkKinds, type ChunkKind } from './file-kinds';

/** Files that are named of a tile; of the rest, their number. */
const maxNames = 6;
/** Longer paths are cut: they are meant to be read. */
const maxPath = 240;

/** Neighbouring chunks, one or more. */
export interface Tile {
  /** Number of the first chunk, and how many there are. */
  first: number;
  chunks: number;
  /** Bytes in the blob and uncompressed. */
  stored: number;
  size: number;
  /** Place in `chunkKinds`. */
  kind: number;
  /** The files that take most of it. */
  files: string[];
  more: number;
  /** When a trace read it first, in its order from 0; -1: not. */
  read: number;
  /** Chunks that the other image has as well. */
  shared: number;
}

interface Content {
  bytes: Float64Array;
  files: { path: string; bytes: number }[];
  count: number;
}

/** Gathers what lies in the chunks of a layer; its memory depends on the number of tiles alone. */
export class ChunkMap {
  private readonly content: Content[];
  private readonly reads: Int32Array;
  private readonly shared: Int32Array;
  /** Chunks of a tile. */
  private readonly together: number;

  /**
   * @param hotEnd where the hot part of the image ends; null when it has none
   * @param maxTiles so few that any browser can show them; neighbouring chunks share one
   */
  constructor(
    private readonly frames: FrameTable,
    private readonly hotEnd: number | null,
    maxTiles: number,
  ) {
    const chunks = frames.offsets.length - 1;
    this.together = Math.max(1, Math.ceil(chunks / maxTiles));
    const count = Math.ceil(chunks / this.together);
    this.content = Array.from({ length: count }, () => ({
      bytes: new Float64Array(chunkKinds.length),
      files: [],
      count: 0,
    }));
    this.reads = new Int32Array(count).fill(-1);
    this.shared = new Int32Array(count);
  }

  /** A stretch of a file's data. */
  add(path: string, kind: ChunkKind, { address, length }: PlacedExtent): void {
    this.over(address, address + length, (tile, bytes, start) => {
      const content = this.content[tile]!;
      const isHot = this.hotEnd !== null && start < this.hotEnd;
      content.bytes[chunkKinds.indexOf(isHot ? 'hot' : kind)]! += bytes;
      addFile(content, path, bytes);
    });
  }

  /** A trace reads these bytes, as the `order`th. */
  read(start: number, end: number, order: number): void {
    this.over(start, end, (tile) => {
      if (this.reads[tile] === -1) this.reads[tile] = order;
    });
  }

  /** Marks the chunks whose checksums are among these. */
  share(checksums: ReadonlySet<string>): void {
    for (const [chunk, checksum] of checksumsOf(this.frames).entries()) {
      if (checksums.has(checksum)) this.shared[Math.floor(chunk / this.together)]!++;
    }
  }

  tiles(): Tile[] {
    const { offsets, starts } = this.frames;
    const chunks = offsets.length - 1;
    return this.content.map((content, i) => {
      const first = i * this.together;
      const end = Math.min(first + this.together, chunks);
      const [stored, size] = [offsets[end]! - offsets[first]!, starts[end]! - starts[first]!];
      const kind = chunkKinds.indexOf(kindOf(content, size, stored));
      const files = content.files.map(({ path }) =>
        path.length > maxPath ? `${path.slice(0, maxPath)}…` : path,
      );
      const [read, shared] = [this.reads[i]!, this.shared[i]!];
      return {
        first,
        chunks: end - first,
        stored,
        size,
        kind,
        files,
        more: content.count - files.length,
        read,
        shared,
      };
    });
  }

  private over(
    start: number,
    end: number,
    visit: (tile: number, bytes: number, start: number) => void,
  ): void {
    const { starts } = this.frames;
    let chunk = chunkAt(starts, start);
    for (let at = start; at < end && chunk + 1 < starts.length; chunk++) {
      const next = Math.min(end, starts[chunk + 1]!);
      if (next > at) visit(Math.floor(chunk / this.together), next - at, at);
      at = Math.max(at, next);
    }
  }
}

/** The checksums of all chunks, as text. */
export function checksumsOf(frames: FrameTable): string[] {
  if (frames.checksumSize === 0) return [];
  return Array.from({ length: frames.offsets.length - 1 }, (_, i) =>
    Buffer.from(checksumOf(frames, i)).toString('latin1'),
  );
}

/** What no file has is metadata, or nothing: that compresses to nothing. */
function kindOf({ bytes }: Content, size: number, stored: number): ChunkKind {
  const all = Array.from(bytes);
  const rest = size - all.reduce((sum, value) => sum + value, 0);
  all[chunkKinds.indexOf(stored < size / 1000 ? 'holes' : 'metadata')]! += Math.max(0, rest);
  return chunkKinds[all.indexOf(Math.max(...all))]!;
}

/** The last piece of one file is often followed by the next of the same. */
function addFile(content: Content, path: string, bytes: number): void {
  const known = content.files.find((file) => file.path === path);
  if (known !== undefined) {
    known.bytes += bytes;
    return;
  }
  content.count++;
  content.files.push({ path, bytes });
  if (content.files.length <= maxNames) return;
  content.files.sort((a, b) => b.bytes - a.bytes);
  content.files.pop();
}
