import type { ErofsFilesystem } from '../../erofs/filesystem';
import type { ErofsInode } from '../../erofs/inode';
import type { DifferenceList } from './differences';
import {
  firstDiscrepancy,
  type ComparedFile,
  type Discrepancy,
  type ExpectedContent,
  type Piece,
  type SourcePiece,
} from './expected-content';
import type { TreeNode } from './tree-node';

const pieceSize = 1 << 20; // bytes; larger files are compared in such pieces
/** What is read together on both sides: pieces, and bytes of them. */
const batchCount = 256;
const batchSize = 4 << 20;
/** While one batch is compared, the next ones are read and decoded. */
const batchesAhead = 2;

/** Compares the bytes of many files, in memory that doesn't grow with them. */
export class ContentComparison {
  /** Bytes compared so far. */
  done = 0;
  private batch: Piece[] = [];
  private batchBytes = 0;
  private readonly running: Promise<void>[] = [];

  constructor(
    private readonly expected: ExpectedContent,
    private readonly image: ErofsFilesystem,
    private readonly differences: DifferenceList,
    /** Called when a batch is done. */
    private readonly onProgress: (done: number) => void,
  ) {}

  /** Has a file compared, whose size is the same on both sides. It need not be done when this returns. */
  async add(path: string, node: TreeNode, inode: ErofsInode): Promise<void> {
    const file = { path, node, inode, differs: false };
    const { data, size } = node;
    let end = 0;
    for (let i = 0; i <= data.length; i += 3) {
      const start = i === data.length ? size : data[i]!;
      if (end < start) await this.addHole(file, end, start);
      if (i === data.length) break;
      end = start + data[i + 2]!;
      await this.addPieces(file, start, end, data[i + 1]!);
    }
  }

  /** Waits for all that was added. */
  async finish(): Promise<void> {
    this.startBatch();
    while (this.running.length > 0) await this.running.shift();
  }

  /** Where there is a hole on both sides, there is nothing to read. */
  private async addHole(file: ComparedFile, from: number, to: number): Promise<void> {
    for await (const { offset, length, hole } of this.image.segments(file.inode)) {
      const start = Math.max(from, offset);
      const end = Math.min(to, offset + length);
      if (!hole && start < end) await this.addPieces(file, start, end, null);
    }
  }

  private async addPieces(
    file: ComparedFile,
    from: number,
    to: number,
    source: number | null,
  ): Promise<void> {
    for (let offset = from; offset < to;) {
      const length = Math.min(pieceSize, to - offset);
      this.batch.push({ file, offset, length, source: source === null ? null : source + offset - from });
      this.batchBytes += length;
      offset += length;
      if (this.batchBytes < batchSize && this.batch.length < batchCount) continue;
      this.startBatch();
      if (this.running.length > batchesAhead) await this.running.shift();
    }
  }

  private startBatch(): void {
    const comparison = this.compare(this.batch);
    comparison.catch(() => undefined); // awaited later, unless another one fails before
    this.running.push(comparison);
    this.batch = [];
    this.batchBytes = 0;
  }

  private async compare(pieces: Piece[]): Promise<void> {
    const found = await Promise.all(
      pieces.map(({ file, offset, length }) => this.image.read(file.inode, offset, length)),
    );
    const inSource = [...pieces.keys()].filter((i) => pieces[i]!.source !== null);
    const discrepancies = await this.expected.compare(
      inSource.map((i) => pieces[i] as SourcePiece),
      inSource.map((i) => found[i]!),
    );
    inSource.forEach((i, j) => {
      this.report(pieces[i]!, found[i]!, discrepancies[j]!);
    });
    pieces.forEach((piece, i) => {
      if (piece.source === null)
        this.report(piece, found[i]!, firstDiscrepancy(Buffer.alloc(piece.length), found[i]!));
      this.done += piece.length;
    });
    this.onProgress(this.done);
  }

  private report({ file, offset }: Piece, found: Buffer, discrepancy: Discrepancy | null): void {
    if (discrepancy === null || file.differs) return;
    file.differs = true;
    const { index, expected } = discrepancy;
    const show = (byte: number): string =>
      `0x${byte.toString(16).padStart(2, '0')} at offset ${offset + index}`;
    this.differences.add(file.path, 'content', show(expected), show(found[index]!));
  }
}
