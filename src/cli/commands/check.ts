import type { Command } from 'commander';
import { failure } from '../../errors';
import type { CheckResult, ConfigDifference, Difference, DifferenceValue } from '../../index';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import {
  addPlatformOption,
  addReadOptions,
  addRegistryOptions,
  given,
  parseCount,
  readOptions,
  refuseDescriptorOfImage,
  registryOptions,
  type CommonFlags,
  type ReadFlags,
  type RegistryFlags,
} from '../options';
import { valueText } from '../json-text';
import { humanCount, speedLine } from '../text';

interface Flags extends CommonFlags, ReadFlags, RegistryFlags {
  platform?: string[];
  maxDifferences?: number;
}

export function checkCommand(session: Session): Command {
  const command = defineCommand(
    'check <SRC> <CONVERTED>',
    'Compare what tar layers describe with what they were converted to',
    [
      'check oci-archive:app.tar oci:app:latest',
      'check layer.tar.gz layer.blob --descriptor descriptor.json',
    ],
  );
  command.option('--max-differences <n>', 'how many to list, and count the rest (default: 100)', parseCount);
  addPlatformOption(command, 'os/arch[/variant] to take from an index, repeatable (default: this machine)');
  addReadOptions(command);
  addRegistryOptions(command);
  return finishCommand(command, session, async ({ options, elapsed }, [source, converted]) => {
    const flags = command.opts<Flags>();
    refuseDescriptorOfImage(converted!, flags);
    const { checkImage } = await library();
    const { summary, ...document } = await checkImage(source!, converted!, {
      ...options,
      ...(await readOptions(flags)),
      ...registryOptions(flags),
      ...given({ platforms: flags.platform, maxDifferences: flags.maxDifferences }),
    });
    const { ok, config, notCompared, differences, omitted = 0 } = document;
    const rest = omitted > 0 ? [`and ${omitted} more differences (--max-differences)`] : [];
    return {
      document,
      text: [
        ...config.map(describeConfig),
        ...notCompared.map((digest) => `layer ${digest}: not compared`),
        ...differences.map(describe),
        ...rest,
      ],
      summary: [summaryLine(document, speedLine(summary.bytes, elapsed()))],
      failure: ok ? undefined : failure('MISMATCH', converted!, verdict(source!, document)),
    };
  });
}

type Found = Omit<CheckResult, 'summary'>;

function countDifferences({ config, differences, omitted = 0 }: Found): number {
  return config.length + differences.length + omitted;
}

function verdict(source: string, found: Found): string {
  const count = `${humanCount(countDifferences(found), 'difference')} from ${source} in ${humanCount(found.entries, 'entry', 'entries')}`;
  const { length } = found.notCompared;
  return length === 0 ? count : `${count}, and ${humanCount(length, 'layer')} could not be compared`;
}

function summaryLine(found: Found, work: string): string {
  const { ok, entries } = found;
  const same = ok ? 'no difference' : 'not all was compared';
  return `${countDifferences(found) > 0 ? 'different' : same}: ${humanCount(entries, 'entry', 'entries')}, ${work}`;
}

function describeConfig({ field, expected, actual }: ConfigDifference): string {
  return `config: ${field} is ${valueText(actual)}, not ${valueText(expected)}`;
}

function describe({ layer, path, field, expected, actual }: Difference): string {
  const place = layer === undefined ? path : `layer ${layer}: ${path}`;
  if (field === 'missing') return `${place}: missing (${show(expected)})`;
  if (field === 'extra') return `${place}: extra (${show(actual)})`;
  return `${place}: ${field} is ${show(actual)}, not ${show(expected)}`;
}

function show(value: DifferenceValue): string {
  return typeof value === 'object' ? JSON.stringify(value) : `${value}`;
}
