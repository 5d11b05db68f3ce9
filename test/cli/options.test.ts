import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InvalidArgumentError } from 'commander';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseChunks } from '../../src/cli/commands/inspect';
import {
  collect,
  given,
  isImageReference,
  parseCount,
  parseInteger,
  parseThreads,
  readDescriptor,
  refuseDescriptorOfImage,
  requirePath,
} from '../../src/cli/options';

describe('numbers', () => {
  test('that are taken', () => {
    expect(parseThreads('1')).toBe(1);
    expect(parseThreads('1024')).toBe(1024);
    expect(parseInteger('-5')).toBe(-5);
    expect(parseCount('0')).toBe(0);
    expect(parseChunks('all')).toBe(Infinity);
    expect(parseChunks('0')).toBe(0);
  });

  test.each(['0', '-1', '1025', '', '1.5', '1e3', '0x10', ' 1', 'two', '9999999999'])(
    '--threads %j is refused',
    (text) => {
      expect(() => parseThreads(text)).toThrow(InvalidArgumentError);
    },
  );

  test.each(['-1', 'some', '1.0', ''])('--chunks %j is refused', (text) => {
    expect(() => parseChunks(text)).toThrow(InvalidArgumentError);
  });
});

test('repeated flags gather', () => {
  expect(collect('b', collect('a'))).toEqual(['a', 'b']);
});

test('flags that were not given are absent, not undefined', () => {
  expect(Object.keys(given({ a: undefined, b: false, c: 0 }))).toEqual(['b', 'c']);
});

describe('references and paths', () => {
  test.each(['docker://a/b', 'oci:dir', 'oci:dir:tag', 'oci-archive:-', 'docker-archive:f', 'erofs-cache:d'])(
    '%s is a reference',
    (text) => {
      expect(isImageReference(text)).toBe(true);
      expect(() => requirePath(text, 'hint')).toThrow(
        expect.objectContaining({ code: 'USAGE', hint: 'hint' }),
      );
      expect(() => {
        refuseDescriptorOfImage(text, { descriptor: 'd.json' });
      }).toThrow(expect.objectContaining({ code: 'USAGE' }));
    },
  );

  test.each(['layer.tar', './oci:dir', 'docker:x', 'https://host/blob', '-', 'xoci:dir'])(
    '%s is none',
    (text) => {
      expect(isImageReference(text)).toBe(false);
      expect(requirePath(text, 'hint')).toBe(text);
      refuseDescriptorOfImage(text, { descriptor: 'd.json' });
    },
  );
});

describe('--descriptor', () => {
  let folder: string;
  const good = {
    mediaType: 'm',
    digest: 'sha256:00',
    size: 1,
    annotations: { a: 'b' },
    diffId: 'sha256:11',
    chunks: 3,
  };
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cli-options-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const write = async (text: string): Promise<string> => {
    const file = join(folder, 'descriptor.json');
    await writeFile(file, text);
    return file;
  };

  test('reads what encode printed', async () => {
    expect(await readDescriptor(await write(JSON.stringify(good)))).toEqual(good);
  });

  test.each([
    '',
    '{',
    '[]',
    'null',
    '"x"',
    JSON.stringify({ ...good, mediaType: undefined }),
    JSON.stringify({ ...good, digest: 5 }),
    JSON.stringify({ ...good, size: -1 }),
    JSON.stringify({ ...good, size: '1' }),
    JSON.stringify({ ...good, size: 1.5 }),
    JSON.stringify({ ...good, annotations: { a: 1 } }),
    JSON.stringify({ ...good, annotations: null }),
    JSON.stringify({ ...good, diffId: 7 }),
  ])('refuses %s', async (text) => {
    await expect(readDescriptor(await write(text))).rejects.toMatchObject({ code: 'CORRUPT' });
  });

  test('refuses a blob given by mistake without reading it', async () => {
    const file = await write('{}');
    await truncate(file, 1 << 30);
    await expect(readDescriptor(file)).rejects.toMatchObject({
      code: 'CORRUPT',
      why: 'too large for a descriptor',
    });
  });

  test('names a file that is missing', async () => {
    const file = join(folder, 'missing.json');
    await expect(readDescriptor(file)).rejects.toMatchObject({ code: 'NOT_FOUND', what: file });
  });
});
