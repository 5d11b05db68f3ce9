import type { BatchJobEvent, BatchProgressEvent } from '../index';
import { humanCount, humanSpeed, printable } from './text';

/** A layer under way: how far its last phase is. */
interface LayerRow {
  phase: string;
  done: number;
  total: number;
}

/** An image under way. */
interface ImageRow {
  name: string;
  began: number;
  /** Bytes that went through any of its phases. */
  moved: number;
  layers: Map<string, LayerRow>;
}

const nameWidth = 36;
const barWidth = 30;

/**
 * The live table of a batch as lines of text: one for each image under way, with a bar for each of its layers that has begun, and one for
 * all. Times come from outside, in milliseconds; what draws it is in batch-progress.ts.
 */
export class BatchTable {
  private readonly images = new Map<number, ImageRow>();
  private began: number | undefined;
  private moved = 0;
  private failed = 0;
  private skipped = 0;
  private ended = 0;
  private total = 0;

  constructor(
    private readonly now: () => number,
    private readonly maxImages = 20,
  ) {}

  job({ job, source, state, ended, total }: BatchJobEvent): void {
    this.began ??= this.now();
    this.ended = ended;
    this.total = total;
    if (state === 'started' || state === 'retried') {
      this.images.set(job, { name: source, began: this.now(), moved: 0, layers: new Map() });
      return;
    }
    this.images.delete(job);
    if (state === 'failed') this.failed++;
    if (state === 'skipped') this.skipped++;
  }

  progress({ job, item = '', phase, done, total, unit }: BatchProgressEvent): void {
    const image = this.images.get(job);
    if (image === undefined || unit !== 'bytes') return;
    const before = image.layers.get(item);
    const moved = Math.max(0, done - (before?.phase === phase ? before.done : 0));
    image.moved += moved;
    this.moved += moved;
    image.layers.set(item, { phase, done, total });
  }

  lines(): string[] {
    if (this.began === undefined) return [];
    const shown = [...this.images.values()].slice(0, this.maxImages);
    const hidden = this.images.size - shown.length;
    return [
      ...shown.map((image) => this.imageLine(image)),
      ...(hidden > 0 ? [`… and ${hidden} more`] : []),
      this.overallLine(this.began),
    ];
  }

  private imageLine({ name, began, moved, layers }: ImageRow): string {
    const rows = [...layers.values()];
    const seconds = (this.now() - began) / 1000;
    const phase = rows.findLast((row) => fraction(row) < 1)?.phase ?? '';
    const parts = [cell(name), `[${layerBars(rows)}]`, phase.padEnd(8), humanSpeed(moved, seconds)];
    return [...parts, ...eta(seconds, overall(rows))].join('  ').trimEnd();
  }

  private overallLine(began: number): string {
    const { ended, total, failed, skipped } = this;
    const seconds = (this.now() - began) / 1000;
    const underWay = [...this.images.values()].reduce(
      (sum, { layers }) => sum + overall([...layers.values()]),
      0,
    );
    const share = total === skipped ? 1 : (ended - skipped + underWay) / (total - skipped);
    const counts = [
      `${ended} of ${humanCount(total, 'image')}`,
      ...(skipped > 0 ? [`${skipped} done before`] : []),
      ...(failed > 0 ? [`${failed} failed`] : []),
    ];
    const parts = [counts.join(', ').padEnd(nameWidth), `[${bar(share, barWidth)}]`];
    const speed = humanSpeed(this.moved, seconds);
    return [...parts, `${Math.floor(100 * share)} %`.padEnd(8), speed, ...eta(seconds, share)].join('  ');
  }
}

/** 0 while the end is unknown. */
function fraction({ done, total }: LayerRow): number {
  return total > 0 ? Math.min(1, done / total) : 0;
}

function overall(rows: LayerRow[]): number {
  return rows.length === 0 ? 0 : rows.reduce((sum, row) => sum + fraction(row), 0) / rows.length;
}

/** As many bars as there are layers, side by side; one for all when they would be too short. */
function layerBars(rows: LayerRow[]): string {
  const width = Math.floor((barWidth + 1) / Math.max(1, rows.length)) - 1;
  if (width < 2 || rows.length === 0) return bar(overall(rows), barWidth);
  const last = barWidth - (rows.length - 1) * (width + 1);
  return rows.map((row, i) => bar(fraction(row), i < rows.length - 1 ? width : last)).join('|');
}

function bar(share: number, width: number): string {
  return '#'.repeat(Math.floor(share * width)).padEnd(width, '-');
}

/** The end of a name says more than its beginning. */
function cell(text: string): string {
  const clean = printable(text);
  return (clean.length > nameWidth ? `…${clean.slice(1 - nameWidth)}` : clean).padEnd(nameWidth);
}

function eta(seconds: number, share: number): string[] {
  if (share <= 0 || share >= 1) return [];
  const left = Math.ceil((seconds * (1 - share)) / share);
  return [`ETA ${left < 120 ? `${left} s` : `${Math.round(left / 60)} min`}`];
}
