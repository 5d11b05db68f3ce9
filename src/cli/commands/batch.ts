import type { Command } from 'commander';
import { failure, type SeekableErofsError } from '../../errors';
import type { BatchResult, BatchSummary, PlannedJob } from '../../index';
import { createBatchDisplay } from '../batch-progress';
import { defineCommand, finishCommand, type Context, type Session } from '../command';
import { addConvertOptions, convertOptions, type ConvertFlags } from '../convert-options';
import { library } from '../library';
import { given, parseCount, parseThreads, type CommonFlags } from '../options';
import { warningLine, type Report } from '../output';
import { batchPlanText } from '../plan-text';
import { queueFlag } from './queue-flag';
import { humanBytes, humanCount, humanWork, leftOutLines, shortDigest, table } from '../text';
import { keepYoungGenerationSmall } from '../v8-flags';

interface Flags extends CommonFlags, ConvertFlags {
  jobs?: number;
  queue?: string;
  priority?: number;
  restart?: true;
  report?: true;
  dryRun?: true;
}

export function batchCommand(session: Session): Command {
  const command = defineCommand('batch <FILE>', 'Convert a list of images, several at once, resumably', [
    'batch images.yaml',
    'batch images.json --jobs 8 --dm-verity --json',
    'batch images.yaml --dry-run',
    'batch images.yaml --restart',
    'batch images.yaml --queue redis://queue.example:6379',
  ]);
  command
    .option('--jobs <n>', 'images at once (default: four for each core, at most 16)', parseThreads)
    .addOption(queueFlag())
    .option('--priority <n>', 'in the queue: lower is sooner, 0 before all (default)', parseCount)
    .option('--dry-run', 'say what would be read, converted, reused and written, and do nothing')
    .option('--report', 'say how much the images share, by layers and by chunks')
    .option('--restart', 'convert everything again, whatever the journal says is done');
  addConvertOptions(command);
  return finishCommand(command, session, (context, [file]) =>
    command.opts<Flags>().dryRun === true
      ? planOf(file!, command.opts<Flags>(), context)
      : runBatch(file!, command.opts<Flags>(), context),
  );
}

async function planOf(file: string, flags: Flags, { options }: Context): Promise<Report> {
  for (const name of ['queue', 'report'] as const) {
    if (flags[name] === undefined) continue;
    throw failure('USAGE', `--${name}`, 'it has no effect with --dry-run', 'leave one of them out');
  }
  const { planBatch } = await library();
  const plan = await planBatch(file, {
    ...given({ jobs: flags.jobs, restart: flags.restart }),
    signal: options.signal,
    threads: options.threads,
    tmpDir: options.tmpDir,
    onWarning: options.onWarning,
    defaults: await convertOptions(flags),
  });
  return { document: plan, ...batchPlanText(plan), failure: verdict(file, plan.jobs) };
}

async function runBatch(file: string, flags: Flags, { options, streams, status }: Context): Promise<Report> {
  keepYoungGenerationSmall();
  const { queueBatch } = await library();
  const display = await createBatchDisplay(flags.progress, streams.stderr, flags.quiet === true);
  status.printBy(display);
  try {
    const { summary, ...document } = await queueBatch(file, {
      signal: options.signal,
      threads: options.threads,
      tmpDir: options.tmpDir,
      onWarning: (line) => {
        if (flags.quiet !== true) display.print(warningLine(streams.stderr, line));
      },
      onJob: (event) => {
        status.update({ phase: 'batch', done: event.ended, total: event.total, unit: 'images' });
        display.job(event);
      },
      onProgress: (event) => {
        status.update(event);
        display.progress(event);
      },
      ...given({ jobs: flags.jobs, restart: flags.restart, report: flags.report }),
      ...given({ queue: flags.queue, priority: flags.priority }),
      defaults: await convertOptions(flags),
    });
    return {
      document,
      text: [...describe(document.jobs), ...describeSharing(document.sharing)],
      summary: [describeAll(summary), ...leftOutLines(summary.leftOut)],
      failure: verdict(file, document.jobs),
    };
  } finally {
    display.stop();
  }
}

function describe(jobs: BatchResult['jobs']): string[] {
  return table(
    jobs.map((job) => {
      const outcome = job.status === 'failed' ? job.error.message : shortDigest(job.digest ?? '-');
      return [job.status, job.source, job.destination, outcome];
    }),
  );
}

function describeSharing(sharing: BatchResult['sharing']): string[] {
  if (sharing === undefined) return [];
  const { images, bytes, distinctLayerBytes, distinctChunkBytes } = sharing;
  const rows = images.map(({ reference, bytes: own, sharedBytes }) => [
    reference,
    `${humanBytes(sharedBytes)} of ${humanBytes(own)} shared`,
  ]);
  const all = `all: ${humanBytes(bytes)}, different layers ${humanBytes(distinctLayerBytes)}, different chunks ${humanBytes(distinctChunkBytes)}`;
  return ['shared among the images', ...table(rows), all];
}

function describeAll(summary: BatchSummary): string {
  const { done, skipped, failed, layers, distinctLayers, bytesIn, bytesOut, bytesSaved, seconds } = summary;
  const counts = [
    humanCount(done, 'image'),
    ...(skipped > 0 ? [`${skipped} done before`] : []),
    ...(failed > 0 ? [`${failed} failed`] : []),
  ];
  if (done === 0) return counts.join(', ');
  const shared = `${humanCount(layers, 'layer')}, ${distinctLayers} different, ${humanBytes(bytesSaved)} saved by sharing`;
  return `${counts.join(', ')}: ${shared}; ${humanWork(bytesIn, bytesOut - bytesSaved, seconds)}`;
}

function verdict(
  file: string,
  jobs: readonly (BatchResult['jobs'][number] | PlannedJob)[],
): SeekableErofsError | undefined {
  const failed = jobs.filter((job) => job.status === 'failed');
  if (failed.length === 0) return undefined;
  const why = `${failed.length} of ${humanCount(jobs.length, 'image')} failed; ${failed[0]!.error.message}`;
  return failure('FAILED', file, why, 'run it again: only these are left');
}
