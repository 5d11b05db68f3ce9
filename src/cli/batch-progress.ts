import type { MultiBar } from 'cli-progress';
import type { BatchJobEvent, BatchProgressEvent } from '../index';
import { BatchTable } from './batch-table';
import { barOptions, LineDisplay } from './line-display';
import type { Streams } from './output';
import { formOf, type ProgressMode } from './progress';
import { humanBytes, humanCount, printable, shortDigest } from './text';

/** Shows on stderr how far a batch is. */
interface BatchDisplay {
  job(event: BatchJobEvent): void;
  progress(event: BatchProgressEvent): void;
  /** Prints a line of stderr without tearing what is drawn. */
  print(line: string): void;
  /** Ends the drawing; may be called twice. */
  stop(): void;
}

/** The display for a mode; `quiet` silences `auto`, not what was asked for by name. */
export async function createBatchDisplay(
  mode: ProgressMode,
  stderr: Streams['stderr'] & { rows?: number },
  quiet: boolean,
): Promise<BatchDisplay> {
  const form = formOf(mode, stderr, quiet);
  if (form === 'json') return new JsonLines(stderr);
  if (form === 'plain') return new PlainLines(stderr);
  if (form === 'none') return new NoLines(stderr);
  const { default: cliProgress } = await import('cli-progress');
  const bars = new cliProgress.MultiBar({ ...barOptions(stderr), format: formatLine });
  return new LiveTable(stderr, bars, new BatchTable(() => performance.now(), (stderr.rows ?? 24) - 3));
}

class NoLines extends LineDisplay implements BatchDisplay {
  job(): void {
    // Nobody wants to know.
  }

  progress(): void {
    // Nobody wants to know.
  }
}

/** One JSON object a line, for programs: as of every command, with the job's number in the list. */
class JsonLines extends LineDisplay implements BatchDisplay {
  job({ job, source, state, ended: done, total, error }: BatchJobEvent): void {
    this.print(
      JSON.stringify({ phase: 'batch', done, total, unit: 'images', item: source, job, state, error }),
    );
  }

  progress({ phase, done, total, unit, item, job }: BatchProgressEvent): void {
    this.print(JSON.stringify({ phase, done, total, unit, item, job }));
  }
}

/** One line for each image that has an end, for log files. */
class PlainLines extends LineDisplay implements BatchDisplay {
  job(event: BatchJobEvent): void {
    if (event.state !== 'started') this.print(jobLine(event));
  }

  progress(): void {
    // Too much for a log.
  }
}

/** What became of an image: `[3/50] done     oci:a:x → oci:b:x  sha256:…  2 layers, 1.2 MB, 0.4 s`. Exported for its test. */
export function jobLine({ source, destination, state, ended, total, error, result }: BatchJobEvent): string {
  const head = `[${ended}/${total}] ${state.padEnd(7)}  ${printable(`${source} → ${destination}`)}`;
  if (error !== undefined) return `${head}  ${printable(error.message)}`;
  if (result === undefined) return head;
  const { layers, bytesOut, seconds } = result.summary;
  const work = `${humanCount(layers, 'layer')}, ${humanBytes(bytesOut)}, ${seconds.toFixed(1)} s`;
  return `${head}  ${shortDigest(result.digest ?? '')}  ${work}`;
}

/** The table, drawn anew a few times a second below what was printed. */
class LiveTable implements BatchDisplay {
  private drawn = 0;
  private stopped = false;

  constructor(
    private readonly stderr: Streams['stderr'],
    private readonly bars: MultiBar,
    private readonly table: BatchTable,
  ) {}

  job(event: BatchJobEvent): void {
    if (this.stopped) return;
    this.table.job(event);
    if (event.state === 'failed' || event.state === 'retried') this.print(jobLine(event));
    // Lines are never removed: where an image ends, the next one begins.
    while (this.drawn < this.table.lines().length) {
      const index = this.drawn++;
      this.bars.create(1, 0, { text: () => this.table.lines()[index] ?? '' });
    }
  }

  progress(event: BatchProgressEvent): void {
    this.table.progress(event);
  }

  print(line: string): void {
    if (this.stopped || this.drawn === 0) this.stderr.write(`${line}\n`);
    else this.bars.log(`${line}\n`);
  }

  stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    if (this.drawn > 0) this.bars.stop();
  }
}

function formatLine(_options: object, _params: object, { text }: { text: () => string }): string {
  return text();
}
