import type { Command } from 'commander';
import { failure } from '../../errors';
import type { ConvertResult } from '../../index';
import { defineCommand, finishCommand, type Session } from '../command';
import { addConvertOptions, convertOptions, type ConvertFlags } from '../convert-options';
import { library } from '../library';
import { placesMeantBy } from '../../image-name';
import { isImageReference, type CommonFlags } from '../options';
import type { Streams } from '../output';
import { planText } from '../plan-text';
import { humanCount, humanWork, leftOutLines } from '../text';
import { keepYoungGenerationSmall } from '../v8-flags';

interface Flags extends CommonFlags, ConvertFlags {
  dryRun?: true;
}

export function convertCommand(session: Session): Command {
  const command = defineCommand('convert <SRC> <DST>', 'Convert an image to seekable EROFS layers', [
    'convert docker://docker.io/library/alpine docker://registry.example/alpine:erofs',
    'convert oci-archive:app.tar oci:app:latest',
    'convert docker://registry.example/app:v1 oci:app:v1 --dry-run',
    'convert oci:app:latest oci-archive:app.erofs.tar --dm-verity',
    'convert docker-archive:saved.tar:app:latest erofs-cache:/var/lib/erofs-cache --dm-verity',
    'convert oci-archive:- oci-archive:- --platform linux/arm64 <app.tar >app.erofs.tar',
  ]);
  command.option('--dry-run', 'say what would be read, converted, reused and written, and do nothing');
  addConvertOptions(command);
  return finishCommand(command, session, async ({ options, streams }, [source, destination]) => {
    keepYoungGenerationSmall();
    const flags = command.opts<Flags>();
    const stdoutTaken = await checkReferences(source!, destination!, flags, streams);
    if (flags.dryRun === true) {
      const { planConversion } = await library();
      const plan = await planConversion(source!, destination!, {
        ...options,
        ...(await convertOptions(flags)),
      });
      return { document: plan, ...planText(plan) };
    }
    const { convertImage } = await library();
    const { summary, ...document } = await convertImage(source!, destination!, {
      ...options,
      ...(await convertOptions(flags)),
    });
    return {
      document,
      text: [document.digest ?? destination!],
      summary: [describe(summary), ...leftOutLines(summary.leftOut)],
      stdoutTaken,
    };
  });
}

/** Refuses what is no conversion of an image; true when the result goes to stdout. */
async function checkReferences(
  source: string,
  destination: string,
  { json }: Flags,
  { stdout }: Streams,
): Promise<boolean> {
  const forms = 'an image is docker://HOST/REPO, oci:DIR, oci-archive:FILE or docker-archive:FILE';
  for (const text of [source, destination]) {
    if (isImageReference(text)) continue;
    // What is misspelt, or a form of another tool, is refused as such.
    (await library()).parseReference(text);
    const places = placesMeantBy(text) ?? forms;
    const hint = `${places}; for one layer see encode and build`;
    throw failure('USAGE', text, 'not an image reference', hint);
  }
  const stdoutTaken = /^oci-archive:-(:|$)/.test(destination);
  if (stdoutTaken && json === true) {
    throw failure(
      'USAGE',
      destination,
      'stdout carries the archive, so --json has no place',
      'leave out --json',
    );
  }
  if (stdoutTaken && stdout.isTTY === true) {
    throw failure(
      'USAGE',
      destination,
      'an archive does not belong on a terminal',
      'redirect stdout to a file',
    );
  }
  return stdoutTaken;
}

function describe({ layers, bytesIn, bytesOut, seconds }: ConvertResult['summary']): string {
  return `${humanCount(layers, 'layer')}: ${humanWork(bytesIn, bytesOut, seconds)}`;
}
