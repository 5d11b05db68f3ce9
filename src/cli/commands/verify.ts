import type { Command } from 'commander';
import { failure, type SeekableErofsError } from '../../errors';
import type { LayerVerification } from '../../index';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import {
  addPlatformOption,
  addReadOptions,
  addRegistryOptions,
  given,
  readOptions,
  refuseDescriptorOfImage,
  registryOptions,
  type CommonFlags,
  type ReadFlags,
  type RegistryFlags,
} from '../options';
import { humanCount, speedLine } from '../text';

interface Flags extends CommonFlags, ReadFlags, RegistryFlags {
  platform?: string[];
}

export function verifyCommand(session: Session): Command {
  const command = defineCommand('verify <REF|PATH>', 'Check every digest, frame, DiffID and Merkle tree', [
    'verify oci:app:latest',
    'verify layer.blob --descriptor descriptor.json',
  ]);
  addPlatformOption(command, 'only this os/arch[/variant] of an index, repeatable (default: all)');
  addReadOptions(command);
  addRegistryOptions(command);
  return finishCommand(command, session, async ({ options, elapsed }, [subject]) => {
    const flags = command.opts<Flags>();
    refuseDescriptorOfImage(subject!, flags);
    const { verifyImage } = await library();
    const { summary, ...document } = await verifyImage(subject!, {
      ...options,
      ...(await readOptions(flags)),
      ...registryOptions(flags),
      ...given({ platforms: flags.platform }),
    });
    const bad = document.layers.filter(({ error }) => error !== undefined);
    return {
      document,
      text: (flags.quiet ? bad : document.layers).map(describe),
      summary: [`${humanCount(document.layers.length, 'layer')}: ${speedLine(summary.bytes, elapsed())}`],
      failure: document.ok ? undefined : verdict(subject!, document.layers.length, bad),
    };
  });
}

function describe({ digest, frames, chunksVerified, diffId, merkle, error }: LayerVerification): string {
  const name = digest ?? '-';
  if (error !== undefined) return `BAD ${name}  ${error}`;
  return `ok  ${name}  frames ${frames}, chunks ${chunksVerified}, Merkle tree ${merkle}, diffId ${diffId ?? '-'}`;
}

function verdict(subject: string, layers: number, bad: LayerVerification[]): SeekableErofsError {
  const first = bad[0]?.error ?? '';
  return failure('MISMATCH', subject, `${bad.length} of ${humanCount(layers, 'layer')} failed; ${first}`);
}
