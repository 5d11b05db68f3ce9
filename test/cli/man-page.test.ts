import { expect, test } from 'vitest';
import { describeProgram, leafCommands, type FlagDescription } from '../../src/cli/describe-program';
import { manPage } from '../../src/cli/man-page';
import { wholeProgram } from '../../src/cli/program';

const escape = (text: string): string => text.replaceAll('-', '\\-');

test('every command has a summary and examples, every flag a description and a group', async () => {
  const leaves = leafCommands(describeProgram(await wholeProgram()));
  expect(leaves.length).toBeGreaterThan(20);
  for (const { words, command } of leaves) {
    const name = words.join(' ');
    expect(command.summary, name).toMatch(/^[A-Z]/);
    expect(command.examples.length, name).toBeGreaterThan(0);
    for (const example of command.examples) expect(example.startsWith(name), example).toBe(true);
    for (const { long, text, group } of command.flags) {
      expect(text.length, `${name} ${long}`).toBeGreaterThan(8);
      expect(group, `${name} ${long}`).toMatch(/:$/);
    }
  }
});

test('the manual page has every command, with each of its flags once', async () => {
  const program = describeProgram(await wholeProgram());
  const sections = manPage(program, '1.2.3').split(/^(?=\.S[SH] )/m);
  for (const { words, command } of leafCommands(program)) {
    const section = sections.find((text) =>
      new RegExp(`^\\.SS ${escape(words.join(' '))}( |\\n)`).test(text),
    );
    expect(section, words.join(' ')).toBeDefined();
    const own = command.flags.filter(({ group }: FlagDescription) => group !== 'Every command:');
    for (const { long } of own) expect(section!.split(`\\fB${escape(long)}\\fR`).length, long).toBe(2);
  }
});

test('nothing in it is taken for a request of roff', async () => {
  const page = manPage(describeProgram(await wholeProgram()), '1.2.3');
  const requests = new Set([...page.matchAll(/^[.'](\w+)/gm)].map(([, name]) => name));
  expect([...requests].sort()).toEqual(['B', 'BR', 'I', 'PP', 'SH', 'SS', 'TH', 'TP', 'fi', 'nf']);
});
