import { Option, type Command } from 'commander';
import { failure } from '../../errors';
import type { WorkerEvent } from '../../index';
import { publicName } from '../../public-name';
import { defineCommand, finishCommand, type Context, type Session } from '../command';
import { library } from '../library';
import {
  addRegistryOptions,
  collect,
  given,
  parseCount,
  parseFileName,
  parseThreads,
  registryOptions,
  type CommonFlags,
  type RegistryFlags,
} from '../options';
import type { Report, Streams } from '../output';
import { humanCount, printable } from '../text';
import { keepYoungGenerationSmall } from '../v8-flags';
import { queueFlag } from './queue-flag';

interface Flags extends CommonFlags, RegistryFlags {
  queue: string;
  jobs?: number;
  cache?: string;
  grace?: number;
  lease?: number;
  limit?: string[];
  metrics?: string;
  retryTime?: number;
}

export function workerCommand(session: Session): Command {
  const command = defineCommand('worker', 'Convert what a queue has, until SIGTERM', [
    'worker --queue redis://queue.example:6379',
    'worker --queue redis://queue.example --threads 4 --cache /srv/layers --metrics 0.0.0.0:9100',
    'worker --queue redis://queue.example --limit docker.io=20 --limit registry.example=200,400MiB',
  ]);
  command
    .addOption(queueFlag().makeOptionMandatory())
    .option('--jobs <n>', 'images at once (default: four for each core, at most 16)', parseThreads)
    .option('--cache <dir>', 'keep converted layers here, whatever jobs say', parseFileName)
    .option('--grace <seconds>', 'at SIGTERM: how long what is under way may take (default: 30)', parseCount)
    .option(
      '--lease <seconds>',
      'how long the work of a dead worker waits for others (default: 30)',
      parseCount,
    )
    .addOption(
      new Option(
        '--limit <host=requests,bytes>',
        'what all workers together ask of a registry in a second; repeatable, the same for all workers',
      ).argParser(collect),
    )
    .option('--metrics <addr:port>', 'answer /metrics, /healthz and /readyz there')
    .option(
      '--retry-time <seconds>',
      'how long to wait for a registry that is away (default: 60)',
      parseCount,
    );
  addRegistryOptions(command);
  return finishCommand(command, session, (context) => work(command.opts<Flags>(), context));
}

async function work(flags: Flags, { options, streams, elapsed }: Context): Promise<Report> {
  keepYoungGenerationSmall();
  const { parseByteSize, parseLimit, runWorker } = await library();
  const limits = new Map(flags.limit?.map((text) => parseLimit(text, (size) => parseByteSize(size))));
  const counts = { done: 0, failed: 0, converted: 0, taken: 0, returned: 0 };
  const { jobs, cache, grace, lease, metrics, retryTime } = flags;
  await runWorker(flags.queue, {
    ...registryOptions(flags),
    ...given({ jobs, cache, grace, lease, metrics, retryTime }),
    threads: options.threads,
    tmpDir: options.tmpDir,
    limits,
    signal: options.signal,
    onWarning: options.onWarning,
    onReady: () => {
      options.onWarning(`working on ${publicName(flags.queue)}`);
    },
    onEvent: (event) => {
      if (event.state in counts) counts[event.state as keyof typeof counts]++;
      log(streams.stderr, flags, event);
    },
  });
  if (options.signal?.aborted === true) throw failure('CANCELLED', 'worker', 'ended', describe(counts));
  return { document: counts, text: [], summary: [`${describe(counts)} in ${Math.round(elapsed())} s`] };
}

function describe(counts: Record<'done' | 'failed' | 'converted' | 'taken' | 'returned', number>): string {
  const { done, failed, converted, taken, returned } = counts;
  return `${humanCount(done, 'image')} done, ${failed} failed, ${returned} handed back; ${humanCount(converted, 'layer')} converted, ${taken} taken over`;
}

function log(stderr: Streams['stderr'], { progress, quiet }: Flags, event: WorkerEvent): void {
  if (progress === 'json') {
    const { what: phase, ...rest } = event;
    stderr.write(`${JSON.stringify({ phase, done: 0, total: 0, unit: `${phase}s`, ...rest })}\n`);
  } else if (quiet !== true && progress !== 'none' && event.what === 'image') {
    const error = event.error === undefined ? '' : `  ${event.error}`;
    stderr.write(`${printable(`${event.state.padEnd(8)}  ${event.item}${error}`)}\n`);
  }
}
