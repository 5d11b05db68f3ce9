import { fromSystemError, SeekableErofsError } from '../../errors';
import type { ResourceOptions } from '../../job';
import { publicName } from '../../public-name';
import { withRetries, type RetryOptions } from '../../source/retry';
import type { ConvertOptions } from '../convert-options';
import type { ConvertResult } from '../convert-result';
import { ConversionPool } from '../pool';
import { messageOf } from './batch-error';
import type { JobCall, JobQueue } from './job-queue';
import type { BatchJob } from './jobs';
import { Journal } from './journal';

/** How this process converts an image, and how often it tries to. */
export interface LocalParts {
  convert: (source: string, destination: string, options: ConvertOptions) => Promise<ConvertResult>;
  retry: RetryOptions;
}

/** How a JournalQueue is opened. */
interface JournalQueueOptions extends Pick<ResourceOptions, 'threads' | 'tmpDir'> {
  atOnce: number;
  /** Forgets what the journal says is done. */
  restart?: boolean | undefined;
}

/** Jobs that this process works on by itself; `FILE.journal` knows what is done. */
export class JournalQueue implements JobQueue {
  private readonly pool: ConversionPool;

  private constructor(
    private readonly file: string,
    private readonly journal: Journal,
    private readonly options: JournalQueueOptions,
    private readonly using: LocalParts,
  ) {
    this.pool = new ConversionPool(options);
  }

  /** @throws as Journal.open() */
  static async open(file: string, options: JournalQueueOptions, using: LocalParts): Promise<JournalQueue> {
    const journal = await Journal.open(journalPath(file), { restart: options.restart === true });
    return new JournalQueue(file, journal, options, using);
  }

  get atOnce(): number {
    return this.options.atOnce;
  }

  digestOf({ key }: BatchJob): Promise<string | null | undefined> {
    return Promise.resolve(this.journal.digestOf(key));
  }

  async perform(job: BatchJob, call: JobCall): Promise<ConvertResult | SeekableErofsError> {
    const { key } = job;
    const [source, destination] = [publicName(job.source), publicName(job.destination)];
    await this.journal.append({ event: 'start', key, source, destination });
    call.onStart();
    const outcome = await this.attempt(job, call);
    if (outcome instanceof SeekableErofsError) {
      const { code } = outcome;
      await this.journal.append({ event: 'failed', key, code, message: messageOf(outcome) });
    } else {
      const { digest, summary } = outcome;
      await this.journal.append({ event: 'done', key, digest, sourceDigest: summary.sourceDigest });
    }
    return outcome;
  }

  close(): Promise<void> {
    return this.journal.close();
  }

  private async attempt(
    { source, destination, options }: BatchJob,
    { signal, onProgress, onWarning, onRetry }: JobCall,
  ): Promise<ConvertResult | SeekableErofsError> {
    const { threads, tmpDir } = this.options;
    const inputs = [this.file, journalPath(this.file)];
    const own = { threads, tmpDir, signal, inputs, pool: this.pool, onProgress, onWarning };
    let attempts = 0;
    const convert = (): Promise<ConvertResult> => {
      if (attempts++ > 0) onRetry();
      return this.using.convert(source, destination, { ...options, ...own });
    };
    try {
      return await withRetries(convert, this.using.retry, signal);
    } catch (error) {
      if (signal.aborted || !isExpected(error)) throw error;
      return fromSystemError(source, error);
    }
  }
}

/** Where the journal of a list is. */
export function journalPath(file: string): string {
  return `${file}.journal`;
}

/** An error that inputs and machines bring about; everything else is a fault of the program, and not to be hidden in a list. */
export function isExpected(error: unknown): boolean {
  return error instanceof SeekableErofsError || (error as NodeJS.ErrnoException).syscall !== undefined;
}
