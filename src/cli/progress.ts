import type { MultiBar, Params, SingleBar } from 'cli-progress';
import type { ProgressEvent } from '../job';
import { barOptions, LineDisplay } from './line-display';
import type { Streams } from './output';
import { humanBytes, humanSpeed, printable, shortDigest } from './text';

export const progressModes = ['auto', 'tty', 'plain', 'json', 'none'] as const;
export type ProgressMode = (typeof progressModes)[number];

/** Shows on stderr how far a run is. */
export interface ProgressDisplay {
  update(event: ProgressEvent): void;
  /** Prints a line of stderr without tearing what is drawn. */
  print(line: string): void;
  /** Ends the drawing; may be called twice. */
  stop(): void;
}

/** The display for a mode; `quiet` silences `auto`, not what was asked for by name. */
export async function createProgress(
  mode: ProgressMode,
  stderr: Streams['stderr'],
  quiet: boolean,
): Promise<ProgressDisplay> {
  const form = formOf(mode, stderr, quiet);
  if (form === 'json') return new JsonProgress(stderr);
  if (form === 'plain') return new PlainProgress(stderr);
  if (form === 'none') return new NoProgress(stderr);
  const { default: cliProgress } = await import('cli-progress');
  const bars = new cliProgress.MultiBar({ ...barOptions(stderr), format: formatBar });
  return new BarProgress(stderr, bars);
}

/** What a mode comes to: bars need a terminal that can move its cursor. */
export function formOf(
  mode: ProgressMode,
  stderr: Streams['stderr'],
  quiet: boolean,
): Exclude<ProgressMode, 'auto'> {
  if (mode === 'auto' && (quiet || stderr.isTTY !== true)) return 'none';
  if (mode !== 'auto' && mode !== 'tty') return mode;
  return process.env['TERM'] === 'dumb' ? 'plain' : 'tty';
}

class NoProgress extends LineDisplay implements ProgressDisplay {
  update(): void {
    // Nobody wants to know.
  }
}

/** One JSON object a line, for programs. */
class JsonProgress extends LineDisplay implements ProgressDisplay {
  update({ phase, done, total, unit, item }: ProgressEvent): void {
    this.print(JSON.stringify({ phase, done, total, unit, item }));
  }
}

/** Lines for log files: one when a phase begins, then one every few seconds. Exported for its test. */
export class PlainProgress extends LineDisplay implements ProgressDisplay {
  private readonly lastShown = new Map<string, number>();

  constructor(
    stderr: Streams['stderr'],
    private readonly now: () => number = Date.now,
    private readonly interval = 5000,
  ) {
    super(stderr);
  }

  update(event: ProgressEvent): void {
    const label = labelOf(event);
    const last = this.lastShown.get(label);
    const now = this.now();
    if (last !== undefined && now - last < this.interval) return;
    this.lastShown.set(label, now);
    this.print(progressLine(event));
  }
}

/** One bar for each item under way; it goes when its phase is done, so that many layers don't fill the screen. Exported for its test. */
export class BarProgress implements ProgressDisplay {
  /** The phase that each item is in, and its bar; no bar once that phase is done. */
  private readonly items = new Map<string, { phase: string; bar?: SingleBar }>();
  private stopped = false;

  constructor(
    private readonly stderr: Streams['stderr'],
    private readonly multiBar: MultiBar,
  ) {}

  update(event: ProgressEvent): void {
    if (this.stopped) return;
    const { phase, item = '', done, total } = event;
    const current = this.items.get(item);
    const continues = current?.phase === phase;
    const finished = total > 0 && done >= total;
    if (current?.bar && (finished || !continues)) this.multiBar.remove(current.bar);
    if (finished) {
      this.items.set(item, { phase });
    } else if (!continues) {
      this.items.set(item, { phase, bar: this.multiBar.create(total, done, { event }) });
    } else {
      current.bar?.setTotal(total);
      current.bar?.update(done, { event });
    }
  }

  print(line: string): void {
    if (this.stopped || this.items.size === 0) this.stderr.write(`${line}\n`);
    else this.multiBar.log(`${line}\n`);
  }

  stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    if (this.items.size > 0) this.multiBar.stop();
  }
}

/** One bar as text: what, how far, how fast, how long still. Exported for its test. */
export function formatBar(
  _options: object,
  { startTime }: Params,
  { event }: { event: ProgressEvent },
): string {
  const { done, total } = event;
  const seconds = (Date.now() - startTime) / 1000;
  const rate = event.unit === 'bytes' ? `  ${humanSpeed(done, seconds)}` : '';
  const label = labelOf(event).padEnd(28);
  if (total === 0) return `${label} ${amount(event)}${rate}`;
  const filled = Math.min(24, Math.floor((24 * done) / total));
  const left = done > 0 ? `  ETA ${Math.ceil((seconds * (total - done)) / done)} s` : '';
  return `${label} [${'#'.repeat(filled).padEnd(24, '-')}] ${amount(event)}${rate}${left}`;
}

/** How far a phase is, as a line: `encode layer.tar: 45 % of 27.3 MB`. */
export function progressLine(event: ProgressEvent): string {
  return printable(`${labelOf(event)}: ${amount(event)}`);
}

function labelOf({ phase, item }: ProgressEvent): string {
  return item === undefined ? phase : `${phase} ${shortDigest(item)}`;
}

/** `12.3 MB`, or `45 % of 27.3 MB` where the end is known. */
function amount({ done, total, unit }: ProgressEvent): string {
  const show = (count: number): string => (unit === 'bytes' ? humanBytes(count) : `${count} ${unit}`);
  return total === 0 ? show(done) : `${Math.floor((100 * done) / total)} % of ${show(total)}`;
}
