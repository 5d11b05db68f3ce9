import type { BatchPlan, ConversionPlan, PlannedJob, PlannedLayer } from '../index';
import { humanBytes, humanCount, indent, shortDigest, table } from './text';

/** A plan of a conversion for a reader: each layer, then the sums. */
export function planText({ source, destination, manifests, total }: ConversionPlan): {
  text: string[];
  summary: string[];
} {
  const text = manifests.flatMap(({ platform, digest, layers }) => [
    `${platform} ${shortDigest(digest)}`,
    ...indent(table(layers.map(rowOf))),
  ]);
  return {
    text,
    summary: [
      `${countsOf(total)}: reads ${humanBytes(total.bytesRead)} of ${source}, writes ${writtenOf(total)} to ${destination}`,
      `about ${total.seconds.toFixed(1)} s of work, without the network; nothing was written`,
    ],
  };
}

/** A plan of a batch: a line for each image, then the sums. */
export function batchPlanText({ jobs, total }: BatchPlan): { text: string[]; summary: string[] } {
  const shared = 'layers that images share are counted with each, and converted once';
  return {
    text: table(jobs.map((job) => [job.status, job.source, job.destination, outlookOf(job)])),
    summary: [
      `${humanCount(jobs.length, 'image')}: reads ${humanBytes(total.bytesRead)}, writes ${writtenOf(total)}; ${shared}`,
      `about ${total.seconds.toFixed(1)} s of work, without the network; nothing was written`,
    ],
  };
}

function outlookOf(job: PlannedJob): string {
  if (job.status === 'failed') return job.error.message;
  if (job.status === 'skipped') return `done before: ${shortDigest(job.digest ?? '-')}`;
  return `${countsOf(job.total)}, ${writtenOf(job.total)}`;
}

function countsOf({ convert, reuse, keep }: ConversionPlan['total']): string {
  return [
    ...(convert > 0 ? [`${humanCount(convert, 'layer')} to convert`] : []),
    ...(reuse > 0 ? [`${reuse} to reuse`] : []),
    ...(keep > 0 ? [`${keep} to keep`] : []),
  ].join(', ');
}

function writtenOf({ convert, bytesWritten }: ConversionPlan['total']): string {
  return `${convert > 0 ? 'about ' : ''}${humanBytes(bytesWritten)}`;
}

const words = {
  convert: 'convert',
  reuse: 'reuse',
  keep: 'keep as it is',
  none: 'the same as one above',
} as const;

function rowOf({ source, size, action, bytesWritten }: PlannedLayer): string[] {
  return [shortDigest(source), humanBytes(size), words[action], becomes(action, bytesWritten)];
}

function becomes(action: PlannedLayer['action'], bytesWritten: number): string {
  if (action === 'none') return '';
  if (action === 'convert') return `about ${humanBytes(bytesWritten)}`;
  return bytesWritten === 0 ? 'there already' : humanBytes(bytesWritten);
}
