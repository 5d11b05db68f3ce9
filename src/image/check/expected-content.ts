import type { ErofsFilesystem } from '../../erofs/filesystem';
import type { ErofsInode } from '../../erofs/inode';
import { native, type NativeSource } from '../../native/binding';
import { fromNativeError } from '../../native/native-error';
import type { TreeNode } from './tree-node';

/** Where a piece differs from the source: the index of its first such byte. */
export interface Discrepancy {
  index: number;
  expected: number;
}

/** Where the bytes are that files should have. */
export interface ExpectedContent {
  /** Bytes of the source, for progress. */
  readonly size: number;
  /** Compares each piece that has a source with what was found in the image; null where nothing differs. */
  compare(pieces: readonly SourcePiece[], found: readonly Buffer[]): Promise<(Discrepancy | null)[]>;
}

/** A file whose bytes are being compared. */
export interface ComparedFile {
  path: string;
  node: TreeNode;
  inode: ErofsInode;
  /** A difference was found: one is enough. */
  differs: boolean;
}

/** Bytes of a file to compare: `offset` and `length` are the file's. */
export interface Piece {
  file: ComparedFile;
  offset: number;
  length: number;
  /** Where they are in the source; null: they must be zeros. */
  source: number | null;
}

/** A piece that isn't a hole. */
export type SourcePiece = Piece & { source: number };

/** File data in a tar. */
export class TarContent implements ExpectedContent {
  readonly size: number;

  constructor(private readonly tar: NativeSource) {
    this.size = tar.size;
  }

  async compare(pieces: readonly SourcePiece[], found: readonly Buffer[]): Promise<(Discrepancy | null)[]> {
    const offsets = Float64Array.from(pieces, ({ source }) => source);
    try {
      const indexes = await native.compareBytes(this.tar, offsets, found);
      return await Promise.all(
        pieces.map(async ({ source }, i) => {
          const index = indexes[i]!;
          return index < 0 ? null : { index, expected: (await this.tar.read(source + index, 1))[0]! };
        }),
      );
    } catch (error) {
      throw fromNativeError(error);
    }
  }
}

/** File data in an image. */
export class ErofsContent implements ExpectedContent {
  constructor(
    readonly size: number,
    private readonly image: ErofsFilesystem,
  ) {}

  async compare(pieces: readonly SourcePiece[], found: readonly Buffer[]): Promise<(Discrepancy | null)[]> {
    return Promise.all(
      pieces.map(async ({ file, offset, length }, i) => {
        const expected = await this.image.read(await this.image.inode(file.node.nid), offset, length);
        return firstDiscrepancy(expected, found[i]!);
      }),
    );
  }
}

/** Compares two buffers of one length. */
export function firstDiscrepancy(expected: Buffer, found: Buffer): Discrepancy | null {
  if (expected.equals(found)) return null;
  const index = expected.findIndex((byte, i) => byte !== found[i]);
  return { index, expected: expected[index]! };
}
