import { expect, test } from 'vitest';
import { run } from '../../src/cli/program';
import { batchKeys } from '../../src/convert/batch/keys';
import { Capture } from './capture';

/** The long flags that a command's help lists, without those of every command. */
async function flagsOf(command: string): Promise<string[]> {
  const stdout = new Capture();
  await run([command, '--help'], { stdout, stderr: new Capture() });
  const [own = ''] = stdout.text.split('Every command:');
  const flags = [...own.matchAll(/^ +--([a-z-]+)/gm)].map((match) => match[1]!);
  return flags.filter((flag) => flag !== 'help').sort();
}

test('every flag of convert but --dry-run is a key of a job, and every key a flag', async () => {
  expect(await flagsOf('convert')).toEqual([...batchKeys.keys(), 'dry-run'].sort());
});

test('batch has the flags of convert, and its own', async () => {
  const own = ['dry-run', 'jobs', 'priority', 'queue', 'report', 'restart'];
  expect(await flagsOf('batch')).toEqual([...batchKeys.keys(), ...own].sort());
});
