import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { documentOf } from './run-cli';
import { makeTar, writeLayout } from './sample';

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
