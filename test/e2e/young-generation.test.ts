import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCli } from './run-cli';
import { sampleTar, writeLayout } from './sample';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'young-generation-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Makes objects that live for a while, as the program ends: a young generation that may grow does. */
const observer = `
process.on('exit', () => {
  let live = [];
  for (let i = 0; i < 3e6; i++) { live.push({ i }); if (live.length > 1e5) live = []; }
  const space = require('node:v8').getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space');
  process.stderr.write('young ' + space.space_size + '\\n');
});`;

test('conversions keep the young generation small: what came from a network waits in it', async () => {
  const script = join(folder, 'observer.cjs');
  const source = join(folder, 'source');
  await writeFile(script, observer);
  await writeLayout(source, [await sampleTar()]);
  const list = join(folder, 'list.json');
  const sizeOf = async (args: string[]) => {
    const { exitCode, stderr } = await runCli(args, { env: { NODE_OPTIONS: `--require ${script}` } });
    expect(exitCode, stderr).toBe(0);
    return Number(/young (\d+)/.exec(stderr)![1]) / 2 ** 20;
  };
  const to = (name: string) => `oci:${join(folder, name)}:x`;
  await writeFile(
    list,
    JSON.stringify({ jobs: [{ source: `oci:${source}:sample`, destination: to('batch') }] }),
  );
  expect(await sizeOf(['--version'])).toBeGreaterThan(8); // it would grow
  expect(await sizeOf(['convert', `oci:${source}:sample`, to('one')])).toBeLessThan(4);
  expect(await sizeOf(['batch', list])).toBeLessThan(4);
});
