import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { describeProgram, leafCommands } from '../../src/cli/describe-program';
import { wholeProgram } from '../../src/cli/program';
import { FakeRegistry } from '../support/fake-registry';
import { documentOf } from './run-cli';
import { makeTar, writeLayout } from './sample';
import { mapPlaces, placeInputs } from './support/documented-inputs';

// The examples name the package as its users do: Node finds the checkout by that name.
const examples = resolve(__dirname, '../../examples');
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'examples-'));
  const tar = await makeTar([{ name: 'etc/motd', content: 'good morning\n' }]);
  await writeFile(join(folder, 'layer.tar'), tar);
  await writeLayout(join(folder, 'src'), [tar], { ref: 'app' });
  await documentOf(['convert', 'oci:src:app', 'oci:made:app'], { cwd: folder });
  const descriptor = await documentOf(['encode', 'layer.tar', 'layer.blob'], { cwd: folder });
  await writeFile(join(folder, 'descriptor.json'), JSON.stringify(descriptor));
});
afterAll(() => rm(folder, { recursive: true }));

test('one-file.mjs prints a file of an image', () => {
  const args = [join(examples, 'one-file.mjs'), 'oci:made:app', '/etc/motd'];
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' });
  expect([status, stderr, stdout]).toEqual([0, '', 'good morning\n']);
});

test('serve-files.mjs serves the files of a blob', async () => {
  const args = [join(examples, 'serve-files.mjs'), 'layer.blob', 'descriptor.json'];
  const server = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [line] = (await once(server.stdout.setEncoding('utf8'), 'data')) as [string];
    const answer = await fetch(new URL('/etc/motd', line.trim()));
    expect([answer.status, await answer.text()]).toEqual([200, 'good morning\n']);
    expect((await fetch(new URL('/etc/none', line.trim()))).status).toBe(404);
  } finally {
    server.kill();
    await once(server, 'exit');
  }
});

describe('in CI', () => {
  const ci = (name: string): Promise<string> => readFile(join(examples, 'ci', name), 'utf8');

  test('images.yaml is a batch whose images are converted', async () => {
    const registry = await FakeRegistry.start();
    const here = await mkdtemp(join(tmpdir(), 'examples-ci-'));
    try {
      await placeInputs(here, registry);
      await writeFile(join(here, 'list.yaml'), mapPlaces(await ci('images.yaml'), registry.host));
      const { jobs } = await documentOf<{ jobs: { status: string }[] }>(['batch', 'list.yaml'], {
        cwd: here,
      });
      expect(jobs.map(({ status }) => status)).toEqual(['done', 'done', 'done']);
      for (const made of [`docker://${registry.host}/app:v1-erofs`, 'oci:images:app-v2']) {
        const verified = await documentOf<{ ok: boolean }>(['verify', made], { cwd: here });
        expect(verified.ok, made).toBe(true);
      }
    } finally {
      await registry.stop();
      await rm(here, { recursive: true });
    }
  });

  test('the job of GitHub runs after the push, and its scripts are what bash reads', async () => {
    const { jobs } = parse(await ci('github.yml')) as {
      jobs: Record<string, { needs?: string; steps: { run?: string; uses?: string }[] }>;
    };
    expect(Object.keys(jobs)).toEqual(['push', 'convert']);
    expect(jobs['convert']!.needs).toBe('push');
    await checkScripts(Object.values(jobs).flatMap(({ steps }) => steps.flatMap(({ run }) => run ?? [])));
  });

  test('the job of GitLab runs after the build, and its scripts are what bash reads', async () => {
    const { stages, build, convert } = parse(await ci('gitlab.yml')) as {
      stages: string[];
      build: { script: string[] };
      convert: { stage: string; needs: string[]; script: string[] };
    };
    expect([stages, convert.stage, convert.needs]).toEqual([['build', 'convert'], 'convert', ['build']]);
    await checkScripts([build.script.join('\n'), convert.script.join('\n')]);
  });
});

/** Scripts have the form of bash, and one of them calls the program with flags that it has. */
async function checkScripts(scripts: string[]): Promise<void> {
  for (const script of scripts) {
    const { status, stderr } = spawnSync('bash', ['-n'], { input: script, encoding: 'utf8' });
    expect([status, stderr], script).toEqual([0, '']);
  }
  const calls = scripts.flatMap((script) => [
    ...script.replaceAll('\\\n', ' ').matchAll(/^seekable-erofs (\w+) (.*)$/gm),
  ]);
  expect(calls).toHaveLength(1);
  const [, name, rest = ''] = calls[0]!;
  const leaf = leafCommands(describeProgram(await wholeProgram())).find(({ words }) => words[0] === name);
  const flags = leaf!.command.flags.map(({ long }) => long);
  for (const [flag] of rest.matchAll(/(?<= )--[a-z-]+/g)) expect(flags).toContain(flag);
}
