import type { Command } from 'commander';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import {
  addReadOptions,
  given,
  readOptions,
  requirePath,
  takesOutput,
  type CommonFlags,
  type ReadFlags,
} from '../options';
import { speedLine, table } from '../text';

interface Flags extends CommonFlags, ReadFlags {
  dmVerity?: true;
}

export function decodeCommand(session: Session): Command {
  const command = defineCommand('decode <BLOB> <IMAGE>', 'Decode a seekable blob to the raw EROFS image', [
    'decode layer.blob layer.erofs --descriptor descriptor.json',
    'decode layer.blob layer.erofs --descriptor descriptor.json --dm-verity',
  ]);
  command.option('--dm-verity', 'append the dm-verity tree, and write IMAGE.dmverity beside the image');
  addReadOptions(command);
  return finishCommand(command, session, async ({ options, elapsed }, [blob, image]) => {
    const flags = command.opts<Flags>();
    const hint = 'decode reads a bare blob';
    const paths = [requirePath(blob!, hint), requirePath(image!, hint)] as const;
    const stdoutTaken = takesOutput(paths[1], flags);
    const { decodeBlob } = await library();
    const document = await decodeBlob(...paths, {
      ...options,
      ...(await readOptions(flags)),
      ...given({ dmVerity: flags.dmVerity }),
      inputs: flags.descriptor === undefined || flags.descriptor === '-' ? [] : [flags.descriptor],
    });
    const { diffId, size, chunks, dmverity } = document;
    const rows = [
      ['size', `${size}`],
      ['chunks', `${chunks}`],
    ];
    if (dmverity) {
      rows.push(['dm-verity root', dmverity.rootDigest], ['hash offset', `${dmverity.hashOffset}`]);
    }
    return { document, text: [diffId], summary: [...table(rows), speedLine(size, elapsed())], stdoutTaken };
  });
}
