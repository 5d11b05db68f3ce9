// Memory by entry: what a listing of many files takes more than one of few. Peaks are of the whole program, whose heap has slack of its own:
// hence two counts far apart.
import { expect, test } from 'vitest';
import { tarBytes } from '../support/tar-bytes';
import { runCli } from './run-cli';
import { at, put, useFolders } from './workspace';

useFolders();

const few = 10_000;
const many = 210_000;
/** Bytes of peak memory; an object with a path, a node, an inode takes a kilobyte and more. */
const maxPerEntry = 300;

/** An image of so many files in one folder, and its tar. */
async function imageOf(count: number): Promise<{ tar: string; image: string }> {
  const names = Array.from({ length: count }, (_, i) => `one/file-${String(i).padStart(8, '0')}.txt`);
  const entries = names.map((name, i) => ({ name, content: i % 64 === 0 ? 'content' : '' }));
  const tar = await put(`${count}.tar`, tarBytes(entries));
  const image = at(`${count}.erofs`);
  expect(await runCli(['build', tar, image])).toMatchObject({ exitCode: 0 });
  return { tar, image };
}

test('reading commands take no memory by entry', { timeout: 300_000 }, async () => {
  const images = [await imageOf(few), await imageOf(many)] as const;
  const commands: [string, (image: (typeof images)[number]) => string[]][] = [
    ['ls', ({ image }) => ['ls', '-R', image]],
    ['ls --json', ({ image }) => ['ls', '-R', '--json', image]],
    ['ls of one folder', ({ image }) => ['ls', image, '/one']],
    ['inspect, with the share of metadata', ({ image }) => ['inspect', '--depth', '1', image]],
  ];
  for (const [name, args] of commands) {
    const peaks: number[] = [];
    for (const image of images) {
      const { exitCode, peakMemory } = await runCli(args(image), { measure: true });
      expect(exitCode, name).toBe(0);
      peaks.push(peakMemory);
    }
    const perEntry = (peaks[1]! - peaks[0]!) / (many - few);
    expect(perEntry, `${name}: bytes by entry, of peaks ${peaks.join(' and ')}`).toBeLessThan(maxPerEntry);
  }
});

test('a listing that nobody reads on ends', async () => {
  const { image } = await imageOf(few);
  const { exitCode, stdout } = await runCli(['ls', '-R', image], { closeStdoutAfter: 100 });
  expect(exitCode).toBe(0);
  expect(stdout.length).toBeLessThan(few * 40);
});

test('a listing that fails on its way is incomplete, and has no second document', async () => {
  const { image } = await imageOf(few);
  const { readFile, writeFile } = await import('node:fs/promises');
  const bytes = await readFile(image);
  // The inode of the last name, which a listing comes to last: a mode without a type.
  const { stdout } = await runCli([
    'ls',
    '--json',
    image,
    `/one/file-${String(few - 1).padStart(8, '0')}.txt`,
  ]);
  const [{ ino }] = JSON.parse(stdout.toString()) as [{ ino: number }];
  bytes.writeUInt16LE(0, bytes.readUInt32LE(1024 + 40) * 4096 + 32 * ino + 4);
  await writeFile(at('damaged.erofs'), bytes);
  const damaged = await runCli(['ls', '-R', '--json', at('damaged.erofs')]);
  expect(damaged.exitCode).toBe(3);
  expect(damaged.stderr).toMatch(/^error: .*mode/m);
  expect(damaged.stdout.toString()).toMatch(/^\[\{"path":"\/",/);
  expect(damaged.stdout.toString()).not.toContain('"error"');
});
