import type { Command } from 'commander';
import { failure, fromSystemError } from '../../errors';
import { checkOutputIsOpen } from '../../standard-output';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import type { CommonFlags } from '../options';
import type { Streams } from '../output';
import { addViewOptions, viewOptions, type ViewFlags } from '../view-options';

export function catCommand(session: Session): Command {
  const command = defineCommand('cat <REF|PATH> <PATH...>', 'Write files to standard output', [
    'cat oci:app:latest /etc/os-release',
    'cat oci:app:latest /etc/passwd /etc/group',
    'cat layer.blob /usr/bin/tool --descriptor descriptor.json > tool',
  ]);
  addViewOptions(command);
  return finishCommand(command, session, async ({ options, streams }, [subject, ...paths]) => {
    const flags = command.opts<CommonFlags & ViewFlags>();
    if (flags.json === true) throw failure('USAGE', 'cat', 'stdout carries the file', 'leave out --json');
    if (streams.stdout === process.stdout) checkOutputIsOpen();
    const { readImageFile } = await library();
    const write = (bytes: Buffer): Promise<boolean> => writeData(streams.stdout, bytes);
    await readImageFile(subject!, paths, write, { ...options, ...(await viewOptions(subject!, flags)) });
    return { document: null, text: [] };
  });
}

/** Resolves when the bytes are handed over; to false when nobody reads them any more (`| head`). */
function writeData(stdout: Streams['stdout'], bytes: Buffer): Promise<boolean> {
  return new Promise((resolve, reject) => {
    stdout.write(bytes, (error) => {
      const code = (error as NodeJS.ErrnoException | null | undefined)?.code;
      if (code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED') resolve(false);
      else if (error) reject(fromSystemError('standard output', error));
      else resolve(true);
    });
  });
}
