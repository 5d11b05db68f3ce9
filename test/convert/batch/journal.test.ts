import { appendFileSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Journal } from '../../../src/convert/batch/journal';
import { caught } from '../../support/caught';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'journal-'));
  path = join(folder, 'list.yaml.journal');
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const header = '{"format":"seekable-erofs batch journal","version":1}\n';
const digest = `sha256:${'ab'.repeat(32)}`;
const start = { event: 'start', key: 'a', source: 'oci:a', destination: 'oci:b' } as const;
const sourceDigest = `sha256:${'cd'.repeat(32)}`;
const done = { event: 'done', key: 'a', digest, sourceDigest } as const;
const lineOf = (event: object): string => `${JSON.stringify(event)}\n`;

/** Opens it, looks, and closes it. */
async function digestsIn(keys: string[], options: { restart?: boolean } = {}): Promise<unknown[]> {
  const journal = await Journal.open(path, options);
  const digests = keys.map((key) => journal.digestOf(key));
  await journal.close();
  return digests;
}

test('a new journal has a header alone', async () => {
  expect(await digestsIn(['a'])).toEqual([undefined]);
  expect(readFileSync(path, 'utf8')).toBe(header);
});

test('is one JSON object a line, and knows in the next run what was done in this one', async () => {
  const journal = await Journal.open(path);
  await journal.append(start);
  expect(journal.digestOf('a')).toBeUndefined();
  await journal.append(done);
  expect(journal.digestOf('a')).toBe(digest);
  await journal.append({ event: 'failed', key: 'b', code: 'IO', message: 'x\ny' });
  await journal.append({ event: 'done', key: 'c', digest: null, sourceDigest });
  await journal.close();
  expect(
    readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual([
    start,
    done,
    { event: 'failed', key: 'b', code: 'IO', message: 'x\ny' },
    { event: 'done', key: 'c', digest: null, sourceDigest },
  ]);
  expect(await digestsIn(['a', 'b', 'c', 'd'])).toEqual([digest, undefined, null, undefined]);
});

test('events that are written at the same time are all there, each in its line', async () => {
  const journal = await Journal.open(path);
  const keys = Array.from({ length: 200 }, (_, i) => `${i}`);
  await Promise.all(keys.map((key) => journal.append({ event: 'done', key, digest, sourceDigest })));
  await journal.close();
  expect(await digestsIn(keys)).toEqual(keys.map(() => digest));
});

test('events that wait for the disk wait for it together', async () => {
  const journal = await Journal.open(path);
  const file = await open(path);
  const syncs = vi.spyOn(Object.getPrototypeOf(file) as FileHandle, 'datasync');
  await file.close();
  const keys = Array.from({ length: 50 }, (_, i) => `${i}`);
  await Promise.all(keys.map((key) => journal.append({ event: 'done', key, digest, sourceDigest })));
  expect(syncs.mock.calls.length).toBeLessThanOrEqual(2); // the first's, and that of all others
  syncs.mockRestore();
  await journal.close();
  expect(await digestsIn(keys)).toEqual(keys.map(() => digest));
});

test('may be cut off at any byte: what was whole counts, and it goes on after it', async () => {
  const whole = Buffer.from(header + lineOf(start) + lineOf(done) + lineOf({ ...done, key: 'ü' }));
  const endOfDone = whole.indexOf(lineOf(done)) + lineOf(done).length;
  for (let length = 0; length <= whole.length; length++) {
    writeFileSync(path, whole.subarray(0, length));
    const journal = await Journal.open(path);
    expect(journal.digestOf('a'), `${length} bytes`).toBe(length >= endOfDone ? digest : undefined);
    expect(journal.digestOf('ü')).toBe(length === whole.length ? digest : undefined);
    await journal.append({ event: 'done', key: 'next', digest, sourceDigest });
    await journal.close();
    expect(await digestsIn(['next'])).toEqual([digest]);
  }
});

test.each([
  ['text', 'a shopping list\n', 'CORRUPT', 'it is no journal'],
  ['text without a newline', 'x', 'CORRUPT', 'it is no journal'],
  ['JSON of something else', '{"version":1}\n', 'CORRUPT', 'it is no journal'],
  ['a list', '[]\n', 'CORRUPT', 'it is no journal'],
  ['null', 'null\n', 'CORRUPT', 'it is no journal'],
  ['zeros', '\0'.repeat(4096), 'CORRUPT', 'it is no journal'],
  [
    'a newer version',
    header.replace('1}', '2}'),
    'UNSUPPORTED',
    'version 2, this release knows up to version 1',
  ],
  ['no version', '{"format":"seekable-erofs batch journal"}\n', 'CORRUPT', 'line 1 is damaged'],
  ['a damaged line', `${header}${lineOf(done)}nonsense\n${lineOf(done)}`, 'CORRUPT', 'line 3 is damaged'],
  [
    'a line of another shape',
    `${header}{"event":"done","key":"a","digest":1}\n`,
    'CORRUPT',
    'line 2 is damaged',
  ],
  ['a line without a key', `${header}{"event":"start"}\n`, 'CORRUPT', 'line 2 is damaged'],
])('refuses %s, and leaves it as it is', async (_title, text, code, why) => {
  writeFileSync(path, text);
  const error = await caught(() => Journal.open(path));
  expect(error).toMatchObject({ code, hint: expect.any(String) as string });
  expect(error.message).toContain(why);
  expect(readFileSync(path, 'utf8')).toBe(text);
});

test('restart forgets what a journal says, whatever its version and damage, but spares other files', async () => {
  for (const text of [
    header + lineOf(done),
    `${header}nonsense\n`,
    header.replace('1}', '7}') + lineOf(done),
  ]) {
    writeFileSync(path, text);
    expect(await digestsIn(['a'], { restart: true })).toEqual([undefined]);
    expect(readFileSync(path, 'utf8')).toBe(header);
  }
  writeFileSync(path, 'a shopping list\n');
  expect(await caught(() => Journal.open(path, { restart: true }))).toMatchObject({ code: 'CORRUPT' });
  expect(readFileSync(path, 'utf8')).toBe('a shopping list\n');
});

test('is one run’s at a time', async () => {
  const journal = await Journal.open(path);
  expect(await caught(() => Journal.open(path))).toMatchObject({
    code: 'FAILED',
    why: expect.stringContaining('another run') as string,
  });
  expect(await caught(() => Journal.open(path, { restart: true }))).toMatchObject({ code: 'FAILED' });
  await journal.append(done);
  await journal.close();
  expect(await digestsIn(['a'])).toEqual([digest]);
});

test('a symbolic link is not followed', async () => {
  writeFileSync(join(folder, 'other'), '');
  symlinkSync('other', path);
  expect(await caught(() => Journal.open(path))).toMatchObject({ code: 'IO' });
  expect(readFileSync(join(folder, 'other'), 'utf8')).toBe('');
});

test('a folder that is not there, a folder in its place', async () => {
  expect(await caught(() => Journal.open(join(folder, 'none/x')))).toMatchObject({ code: 'NOT_FOUND' });
  expect(await caught(() => Journal.open(folder))).toMatchObject({ code: 'IO' });
});

test('what was appended by another does not harm it', async () => {
  await digestsIn([]);
  appendFileSync(path, lineOf({ event: 'paused', key: 'a', since: 1 }));
  appendFileSync(path, lineOf(done));
  expect(await digestsIn(['a'])).toEqual([digest]);
});

test('after a failed write nothing more is written, lest it follows a torn line', async () => {
  const journal = await Journal.open(path);
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  const appendFile = vi.fn().mockRejectedValueOnce(full).mockResolvedValue(undefined);
  const { file } = journal as unknown as { file: FileHandle };
  vi.spyOn(file, 'appendFile').mockImplementation(appendFile);
  const events = [start, done].map((event) => caught(() => journal.append(event)));
  expect(await Promise.all(events)).toMatchObject([{ code: 'NO_SPACE' }, { code: 'NO_SPACE' }]);
  expect(appendFile).toHaveBeenCalledTimes(1);
  expect(journal.digestOf('a')).toBeUndefined();
  await journal.close();
});
