import type { Command } from 'commander';
import type { Trace } from '../../index';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import { humanBytes, table } from '../text';

/** `trace show` and `trace merge`. */
export function traceCommand(session: Session): Command {
  const command = defineCommand('trace', 'Look at traces, and make one of several', [
    'trace show app.trace',
    'trace merge first.trace second.trace > app.trace',
  ]);
  command.addCommand(showCommand(session));
  command.addCommand(mergeCommand(session));
  return command;
}

function showCommand(session: Session): Command {
  const command = defineCommand('show <FILE>', 'List what was read, in the order of first use', [
    'trace show app.trace',
  ]);
  return finishCommand(command, session, async (_, [file]) => {
    const { readTrace } = await library();
    const document = await readTrace(file!);
    return { document, text: table(rowsOf(document)), summary: [summaryOf(document)] };
  });
}

function mergeCommand(session: Session): Command {
  const command = defineCommand('merge <FILE...>', 'Print one trace of several runs', [
    'trace merge first.trace second.trace > app.trace',
  ]);
  return finishCommand(command, session, async (_, files) => {
    const { readTrace, mergeTraces, serializeTrace } = await library();
    const document = mergeTraces(await Promise.all(files.map((file) => readTrace(file))));
    return {
      document,
      text: [serializeTrace(document).toString().trimEnd()],
      summary: [summaryOf(document)],
    };
  });
}

const bytesOf = (ranges: readonly (readonly [number, number])[]): number =>
  ranges.reduce((sum, [, length]) => sum + length, 0);

function rowsOf({ reads }: Trace): string[][] {
  return reads.map(({ path, ranges, firstMs }) => [
    `${Math.round(firstMs)} ms`,
    ranges.length === 0 ? 'all' : humanBytes(bytesOf(ranges)),
    path,
  ]);
}

function summaryOf({ image, platform, reads }: Trace): string {
  const bytes = reads.reduce((sum, { ranges }) => sum + bytesOf(ranges), 0);
  return `${reads.length} files, ${humanBytes(bytes)} read of ${image} (${platform})`;
}
