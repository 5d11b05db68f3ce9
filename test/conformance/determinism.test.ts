import { spawnSync } from 'node:child_process';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { beforeEach, describe, expect, test } from 'vitest';
import { documentOf, runCli } from '../e2e/run-cli';
import { makeTar, noise, sha256, writeLayout } from '../e2e/sample';
import { at, folder, put, useFolders, type Encoded } from '../e2e/workspace';
import { run, titleOf, whyWithout } from './support/machine';

// The claim: the bytes of a blob depend on the tar's content and the settings, and on nothing else: not on the number of
// threads, the process, the names, the place, the time, or how the tar was compressed.

useFolders();

const flags = ['--dm-verity', '--chunk-size', '256KiB'];

/** Some 20 MB in files that compress well, badly and not at all, so that chunks take very different times. */
const tarFile = (async () => {
  const text = 'all work and no play makes a dull day\n';
  const entries = Array.from({ length: 60 }, (_, i) => {
    const content = i % 3 === 0 ? noise(500_000, `${i}`) : Buffer.from(text.repeat(i * 300 + 1));
    return { name: `folder-${i % 7}/file-${i}`, mode: i % 2 ? 0o644 : 0o755, content };
  });
  return makeTar(entries);
})();

beforeEach(async () => {
  await put('layer.tar', await tarFile);
});

const encode = (layer: string, blob: string, ...more: string[]): Promise<Encoded> =>
  documentOf<Encoded>(['encode', layer, blob, ...flags, ...more], { cwd: folder });

async function digestOf(name: string): Promise<string> {
  return sha256(await readFile(at(name)));
}

test.each(['1', '2', '8'])(
  '--threads %s gives the blob that one thread gives, each time',
  async (threads) => {
    const reference = await encode('layer.tar', 'reference', '--threads', '1');
    expect(reference.chunks).toBeGreaterThan(50);
    expect(await digestOf('reference')).toBe(reference.digest);
    for (const blob of ['first', 'second']) {
      expect(await encode('layer.tar', blob, '--threads', threads)).toEqual(reference);
      expect(await digestOf(blob)).toBe(reference.digest);
    }
  },
);

test('names, place, time zone, locale, umask and the clock are not in it', async () => {
  const reference = await encode('layer.tar', 'reference');
  await mkdir(at('elsewhere'));
  await writeFile(at('elsewhere/other-name'), await tarFile);
  const env = { TZ: 'Pacific/Kiritimati', LC_ALL: 'C', TMPDIR: at('elsewhere'), SOURCE_DATE_EPOCH: '1' };
  const args = ['encode', 'other-name', 'out', ...flags];
  expect(await documentOf<Encoded>(args, { cwd: at('elsewhere'), env })).toEqual(reference);
  expect(await digestOf('elsewhere/out')).toBe(reference.digest);
});

describe('a compressed tar', () => {
  const compressors: [string, () => Promise<void>, string | null][] = [
    [
      'layer.tar.gz',
      () => pipeline(createReadStream(at('layer.tar')), createGzip(), createWriteStream(at('layer.tar.gz'))),
      null,
    ],
    [
      'two-members.tar.gz',
      async () => {
        const tar = await tarFile;
        const parts = [tar.subarray(0, 1_000_001), tar.subarray(1_000_001)];
        const gzip = (input: Buffer): Buffer =>
          spawnSync('gzip', ['-c'], { input, maxBuffer: 2 ** 28 }).stdout;
        await put('two-members.tar.gz', Buffer.concat(parts.map(gzip)));
      },
      whyWithout('gzip'),
    ],
    [
      'layer.tar.zst',
      async () => void run('zstd', ['-q', '-19', '--long=24', at('layer.tar'), '-o', at('layer.tar.zst')]),
      whyWithout('zstd'),
    ],
  ];

  for (const [name, compress, reason] of compressors) {
    test.skipIf(reason !== null)(
      titleOf(`${name} gives the same image and the same blob`, reason),
      async () => {
        const reference = await encode('layer.tar', 'reference');
        await compress();
        expect(await digestOf(name)).not.toBe(await digestOf('layer.tar'));
        expect(await encode(name, 'blob', '--threads', '3')).toEqual(reference);
        const built = await documentOf<{ diffId: string }>(['build', name, 'image'], { cwd: folder });
        expect(built.diffId).toBe(reference.diffId);
        expect(await digestOf('image')).toBe(reference.diffId);
      },
    );
  }
});

test('a whole image: layouts and archives are the same bytes with any number of threads', async () => {
  await writeLayout(at('source'), [await tarFile], { platforms: ['linux/amd64'] });
  const digests: string[] = [];
  for (const threads of ['1', '8']) {
    const args = [
      'convert',
      'oci:source',
      `oci-archive:out-${threads}.tar:name`,
      ...flags,
      '--threads',
      threads,
    ];
    const { exitCode, stderr } = await runCli(args, { cwd: folder });
    expect(exitCode, stderr).toBe(0);
    digests.push(await digestOf(`out-${threads}.tar`));
  }
  expect(digests[1]).toBe(digests[0]);
});
