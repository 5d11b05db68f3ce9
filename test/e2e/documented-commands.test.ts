import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { describeProgram, leafCommands } from '../../src/cli/describe-program';
import { wholeProgram } from '../../src/cli/program';
import { FakeRegistry } from '../support/fake-registry';
import { commandsOf, isShown, withoutNumbers, type DocumentedCommand } from './support/documented';
import { mapPlaces, placeInputs } from './support/documented-inputs';

// The claim: every command that the README and docs/ show works as it stands there, in the order in which it stands there, and prints
// what is shown, but for numbers. Those that can't run here are in not-run-commands.json, each with the reason.

const root = resolve(__dirname, '../..');

interface NotRun {
  reason: string;
  /** By document. */
  commands: Record<string, string[]>;
}

const documents = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
  .filter((name) => /^(?!api\/|adr\/).*\.md$/.test(name))
  .map((name) => `docs/${name}`);
const read = (name: string): string => readFileSync(join(root, name), 'utf8');

const all = ['README.md', ...documents.sort()].flatMap((name) => commandsOf(name, read(name)));
const notRun = JSON.parse(read('test/e2e/not-run-commands.json')) as NotRun[];

const isNotRun = ({ document, command }: DocumentedCommand): boolean =>
  notRun.some(({ commands }) => commands[document]?.includes(command));

/** Runs a command as it is typed; both streams come as a terminal shows them. */
function run(command: string, folder: string): Promise<{ code: number; output: string[] }> {
  const env = {
    ...process.env,
    NO_COLOR: '1',
    HOME: folder,
    PATH: `${join(folder, 'bin')}:${process.env['PATH']}`,
  };
  return new Promise((done) => {
    execFile('bash', ['-c', `exec 2>&1\n${command}`], { cwd: folder, env }, (error, stdout) => {
      const output = stdout.split('\n').filter((line) => line !== '');
      done({ code: error === null ? 0 : Number(error.code), output });
    });
  });
}

test('what is not run is in a document, and each has a reason', () => {
  for (const { reason, commands } of notRun) {
    expect(reason).toMatch(/^\w+,? .{10}/);
    for (const [document, listed] of Object.entries(commands))
      for (const command of listed)
        expect(
          all.filter((other) => other.document === document && other.command === command),
          `${document}: ${command}`,
        ).not.toEqual([]);
  }
});

test('the program has every command and flag that is shown, also of what is not run', async () => {
  const leaves = leafCommands(describeProgram(await wholeProgram()));
  const calls = all.flatMap(({ command }) =>
    [...command.replaceAll('\\\n', ' ').matchAll(/(?:^|[|&] *|sudo )seekable-erofs ([^|&>#\n]*)/g)].map(
      ([, call = '']) => call,
    ),
  );
  expect(calls.length).toBeGreaterThan(40);
  for (const call of calls) {
    const words = call.trim().split(/ +/);
    const leaf = leaves.find((other) => other.words.every((word, i) => word === words[i]));
    expect(leaf, call).toBeDefined();
    const [own] = call.split(' -- ');
    const flags = leaf!.command.flags.map(({ long }) => long);
    for (const [flag] of own!.matchAll(/(?<= )--[a-z-]+/g)) expect(flags, call).toContain(flag);
  }
});

const documentsWithCommands = [
  ...new Set(all.filter((command) => !isNotRun(command)).map(({ document }) => document)),
];

describe.each(documentsWithCommands)('%s', (document) => {
  test('its commands work, and print what it shows', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'documented-'));
    const registry = await FakeRegistry.start();
    registry.listsReferrers = true;
    try {
      await placeInputs(folder, registry);
      for (const shown of all.filter((command) => command.document === document && !isNotRun(command))) {
        const { code, output } = await run(mapPlaces(shown.command, registry.host), folder);
        expect(code, `${shown.command}\n${output.join('\n')}`).toBe(0);
        if (shown.output.length === 0) continue;
        const expected = withoutNumbers(shown.output.map((line) => mapPlaces(line, registry.host)));
        const message = `${document}: ${shown.command}\nprints\n${output.join('\n')}`;
        expect(isShown(withoutNumbers(output), expected), message).toBe(true);
      }
    } finally {
      await registry.stop();
      await rm(folder, { recursive: true });
    }
  });
});

describe('the JavaScript of docs/node.md', () => {
  const blocks = [...read('docs/node.md').matchAll(/^```js\n(.*?)^```/gms)].map(([, code = '']) => code);

  test('runs as it stands there', async () => {
    expect(blocks.length).toBeGreaterThan(3);
    const folder = await mkdtemp(join(tmpdir(), 'documented-'));
    const registry = await FakeRegistry.start();
    try {
      await placeInputs(folder, registry);
      await mkdir(join(folder, 'node_modules'));
      await symlink(root, join(folder, 'node_modules', 'seekable-erofs-native'));
      const encode = 'seekable-erofs encode layer.tar layer.blob --json > descriptor.json';
      expect((await run(encode, folder)).code).toBe(0);
      const outputs = [];
      for (const code of blocks) {
        await writeFile(join(folder, 'block.mjs'), code);
        const { code: status, output } = await run(`'${process.execPath}' block.mjs`, folder);
        expect(status, `${code}\n${output.join('\n')}`).toBe(0);
        outputs.push(output);
      }
      expect(outputs).toEqual([
        ['PRETTY_NAME="Example Linux 1"', 'ID=example'],
        ['file 2100000', 'bin', 'share', 'app'],
        expect.arrayContaining(['/etc/app.conf 12', '/usr/share/words 2100000']),
        ['NOT_FOUND'],
      ]);
    } finally {
      await registry.stop();
      await rm(folder, { recursive: true });
    }
  });
});
