import type { ConversionPlan, PlannedLayer } from '../index';
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
  const counts = [
    ...(total.convert > 0 ? [`${humanCount(total.convert, 'layer')} to convert`] : []),
    ...(total.reuse > 0 ? [`${total.reuse} to reuse`] : []),
    ...(total.keep > 0 ? [`${total.keep} to keep`] : []),
  ];
  const written = `${total.convert > 0 ? 'about ' : ''}${humanBytes(total.bytesWritten)}`;
  return {
    text,
    summary: [
      `${counts.join(', ')}: reads ${humanBytes(total.bytesRead)} of ${source}, writes ${written} to ${destination}`,
      `about ${total.seconds.toFixed(1)} s of work, without the network; nothing was written`,
    ],
  };
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
