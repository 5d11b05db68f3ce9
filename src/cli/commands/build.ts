import type { Command } from 'commander';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import {
  addBuildOptions,
  buildOptions,
  requirePath,
  takesOutput,
  type BuildFlags,
  type CommonFlags,
} from '../options';
import { speedLine, table } from '../text';

export function buildCommand(session: Session): Command {
  const command = defineCommand('build <TAR> <IMAGE>', 'Build the raw EROFS image of a tar layer', [
    'build layer.tar layer.erofs',
    'build layer.tar.gz layer.erofs --json',
    'build layer.tar layer.erofs --mkfs "-zlz4hc -C65536"',
  ]);
  addBuildOptions(command);
  return finishCommand(command, session, async ({ options, elapsed }, [tar, image]) => {
    const hint = 'for an image see convert';
    const paths = [requirePath(tar!, hint), requirePath(image!, hint)] as const;
    const stdoutTaken = takesOutput(paths[1], command.opts<CommonFlags & BuildFlags>());
    const { buildErofs } = await library();
    const document = await buildErofs(...paths, {
      ...options,
      ...buildOptions(command.opts<CommonFlags & BuildFlags>()),
    });
    const { diffId, size, inodes, blockSize } = document;
    const rows = [
      ['size', `${size}`],
      ['inodes', `${inodes}`],
      ['block size', `${blockSize}`],
    ];
    return { document, text: [diffId], summary: [...table(rows), speedLine(size, elapsed())], stdoutTaken };
  });
}
