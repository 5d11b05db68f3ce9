import type { Command } from 'commander';
import { SeekableErofsError } from '../../errors';
import type { Trace, TraceShare } from '../../index';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import {
  addPlatformOption,
  addRegistryOptions,
  given,
  registryOptions,
  takesOutput,
  type CommonFlags,
  type RegistryFlags,
} from '../options';
import { humanBytes, humanCount, table } from '../text';

/** `trace show`, `merge`, `push` and `pull`. */
export function traceCommand(session: Session): Command {
  const command = defineCommand('trace', 'Look at traces, make one of several, attach them to images', [
    'trace show app.trace',
    'trace merge first.trace second.trace > app.trace',
    'trace push app.trace docker://registry.example/app:v2',
    'trace pull docker://registry.example/app:v2 app.trace',
  ]);
  for (const make of [showCommand, mergeCommand, pushCommand, pullCommand]) command.addCommand(make(session));
  return command;
}

function showCommand(session: Session): Command {
  const command = defineCommand('show <FILE>', 'List what was read, in the order of first use', [
    'trace show app.trace',
  ]);
  addRegistryOptions(command);
  return finishCommand(command, session, async ({ options }, [file]) => {
    const { readTrace, traceShare } = await library();
    const trace = await readTrace(file!, options);
    const registry = registryOptions(command.opts<RegistryFlags>());
    const asked = await traceShare(trace, { ...options, ...registry }).catch(unlessCancelled);
    const isKnown = !(asked instanceof SeekableErofsError);
    return {
      document: { ...trace, share: isKnown ? asked : null },
      text: table(rowsOf(trace)),
      summary: [
        summaryOf(trace),
        isKnown ? shareOf(asked) : `its share of the image is not known: ${asked.message}`,
      ],
    };
  });
}

/** A trace is shown without its image as well. */
function unlessCancelled(error: unknown): SeekableErofsError {
  if (error instanceof SeekableErofsError && error.code !== 'CANCELLED') return error;
  throw error;
}

function shareOf({ bytesRead, imageBytes }: TraceShare): string {
  const percent = imageBytes === 0 ? 0 : (100 * bytesRead) / imageBytes;
  return `${humanBytes(bytesRead)} of ${humanBytes(imageBytes)}: ${percent.toFixed(1)} % of the image`;
}

function mergeCommand(session: Session): Command {
  const command = defineCommand('merge <FILE...>', 'Print one trace of several runs', [
    'trace merge first.trace second.trace > app.trace',
  ]);
  return finishCommand(command, session, async ({ options }, files) => {
    const { readTrace, mergeTraces, serializeTrace } = await library();
    const document = mergeTraces(await Promise.all(files.map((file) => readTrace(file, options))));
    return {
      document,
      text: [serializeTrace(document).toString().trimEnd()],
      summary: [summaryOf(document)],
    };
  });
}

function pushCommand(session: Session): Command {
  const command = defineCommand('push <FILE> <REF>', 'Attach a trace to an image', [
    'trace push app.trace docker://registry.example/app:v2',
    'trace push app.trace oci:app:v2',
  ]);
  addRegistryOptions(command);
  return finishCommand(command, session, async ({ options }, [file, reference]) => {
    const { pushTrace } = await library();
    const flags = command.opts<RegistryFlags>();
    const document = await pushTrace(file!, reference!, { ...options, ...registryOptions(flags) });
    const rows = document.manifests.map(({ subject, digest }) => [digest, `about ${subject}`]);
    return { document, text: table(rows) };
  });
}

function pullCommand(session: Session): Command {
  const command = defineCommand('pull <REF> <FILE>', 'Write the trace that is attached to an image', [
    'trace pull docker://registry.example/app:v2 app.trace',
    'trace pull oci:app:v2 - --platform linux/arm64 > app.trace',
  ]);
  addPlatformOption(command, "os/arch[/variant] of an index (default: this machine's)");
  addRegistryOptions(command);
  return finishCommand(command, session, async ({ options }, [reference, file]) => {
    const flags = command.opts<CommonFlags & RegistryFlags & { platform?: string[] }>();
    const stdoutTaken = takesOutput(file!, flags);
    const { pullTrace } = await library();
    const platform = given({ platform: flags.platform?.at(-1) });
    const document = await pullTrace(reference!, file!, {
      ...options,
      ...registryOptions(flags),
      ...platform,
    });
    const { digest, files, subject } = document;
    return {
      document,
      text: [file!],
      summary: [`${humanCount(files, 'file')}: ${digest}, about ${subject}`],
      stdoutTaken,
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
  return `${humanCount(reads.length, 'file')}, ${humanBytes(bytes)} read of ${image} (${platform})`;
}
