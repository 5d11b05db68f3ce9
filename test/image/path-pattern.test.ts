import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../../src/cli/program';
import { buildErofs, extractImage, listImage, readImageFile } from '../../src/index';
import { Capture } from '../cli/capture';
import { makeTar } from '../e2e/sample';
import { caught } from '../support/caught';

const files = [
  'etc/a.conf',
  'etc/b.conf',
  'etc/c.json',
  'etc/x/d.conf',
  'etc/x/y/e.conf',
  'odd/*',
  'odd/[',
  'odd/-',
];
let root: string;
let image: string;
let number = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'pattern-'));
  image = join(root, 'image');
  const entries = files.map((name) => ({ name, content: name }));
  await writeFile(
    join(root, 'tar'),
    await makeTar([...entries, { name: 'link', type: 'symlink', linkname: 'etc' }]),
  );
  await buildErofs(join(root, 'tar'), image);
});
afterAll(() => rm(root, { recursive: true }));

async function extracted(...paths: string[]): Promise<string[]> {
  const folder = join(root, `out-${number++}`);
  await extractImage(image, folder, { paths });
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  return found
    .filter((entry) => !entry.isDirectory())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
    .sort();
}

test.each([
  ['/etc/*.conf', ['etc/a.conf', 'etc/b.conf']],
  ['etc/[ac].*', ['etc/a.conf', 'etc/c.json']],
  ['/etc/[!a].conf', ['etc/b.conf']],
  ['/etc/[a-b].con?', ['etc/a.conf', 'etc/b.conf']],
  ['/**/*.conf', ['etc/a.conf', 'etc/b.conf', 'etc/x/d.conf', 'etc/x/y/e.conf']],
  ['/etc/**/e.conf', ['etc/x/y/e.conf']],
  ['/etc/x/**', ['etc/x/d.conf', 'etc/x/y/e.conf']],
  ['/et*/*/y', ['etc/x/y/e.conf']],
  ['/link/*.json', ['etc/c.json']],
  ['/odd/*', ['odd/*']],
  ['/odd/[', ['odd/[']],
  ['/odd/\\x2a', ['odd/*']],
  ['/odd/?', ['odd/*', 'odd/-', 'odd/[']],
  ['/odd/[-*]', ['odd/*', 'odd/-']],
])('%s', async (pattern, expected) => {
  expect(await extracted(pattern)).toEqual(expected);
});

test('several patterns are one extraction', async () => {
  expect(await extracted('/etc/*.conf', '/etc/a*', '/odd/-')).toEqual(['etc/a.conf', 'etc/b.conf', 'odd/-']);
});

test('what matches nothing is NOT_FOUND, and leaves nothing', async () => {
  const error = await caught(() => extractImage(image, join(root, 'none'), { paths: ['/etc/*.xml'] }));
  expect(error).toMatchObject({
    code: 'NOT_FOUND',
    what: '/etc/*.xml',
    why: 'nothing in the image matches it',
  });
  await expect(readdir(join(root, 'none'))).rejects.toThrow('ENOENT');
});

test('ls and cat take several paths', async () => {
  const listed = await listImage(image, ['/etc/x', '/odd/-']);
  expect(listed.map(({ path }) => path)).toEqual(['/etc/x/d.conf', '/etc/x/y', '/odd/-']);
  const pieces: Buffer[] = [];
  await readImageFile(image, ['/etc/a.conf', '/odd/-'], (bytes) => Promise.resolve(pieces.push(bytes) > 0));
  expect(Buffer.concat(pieces).toString()).toBe('etc/a.confodd/-');
  const [stdout, stderr] = [new Capture(), new Capture()];
  expect(await run(['ls', '-l', image, '/etc/x', '/odd/-'], { stdout, stderr })).toBe(0);
  expect(stdout.lines.map((line) => line.split(' ').at(-1))).toEqual(['/etc/x/d.conf', '/etc/x/y', '/odd/-']);
});
