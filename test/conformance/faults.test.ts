import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { runCli, runJson, type RunOptions } from '../e2e/run-cli';
import { filesUnder, makeTar, noise, sampleTar } from '../e2e/sample';
import { at, folder, put, useFolders, type ErrorDocument } from '../e2e/workspace';
import { digestOf, LayoutBuilder, oci, type Descriptor, type Layer } from './support/image';
import { checkCleanLayout } from './support/layout-check';
import { rootOnly, run, titleOf } from './support/machine';

// The claim: a conversion that can't succeed says why in one line, with the right exit code, and leaves nothing.

useFolders();

let tar: Buffer;
let builder: LayoutBuilder;
beforeEach(async () => {
  tar = await sampleTar();
  builder = new LayoutBuilder(at('source'));
});

/** Every kind of destination of the test's folder. */
const destinations = ['oci:dst:new', 'oci-archive:dst.tar:new'];

/** Checks a failed conversion into every kind of destination. Returns its message. */
async function expectRefused(
  exitCode: number,
  code: string,
  { flags = [], ...options }: RunOptions & { flags?: string[] } = {},
): Promise<string> {
  const before = await filesUnder(folder);
  let message = '';
  for (const destination of destinations) {
    const { document, ...ended } = await runJson<ErrorDocument>(
      ['convert', 'oci:source', destination, ...flags],
      { cwd: folder, ...options },
    );
    expect({ exitCode: ended.exitCode, code: document.error.code }, ended.stderr).toEqual({ exitCode, code });
    message = document.error.message;
    expect(ended.stderr).toBe(`error: ${message}\n`);
    expect(message).toMatch(/^[^\n]+: [^\n]+$/);
    expect(await filesUnder(folder)).toEqual(before);
    expect((await readdir(folder)).filter((name) => name.startsWith('dst'))).toEqual([]);
  }
  return message;
}

const blob = (digest: string): string => at(`source/blobs/sha256/${digest.slice(7)}`);

async function flip(digest: string, place: number): Promise<void> {
  const bytes = await readFile(blob(digest));
  bytes[place < 0 ? bytes.length + place : place]! ^= 1;
  await writeFile(blob(digest), bytes);
}

describe('a source that is not what it says', () => {
  let image: Descriptor;
  let layer: Layer;
  beforeEach(() => {
    layer = builder.tarLayer(tar);
    image = builder.image([layer]);
    builder.name(image);
  });

  const config = async (): Promise<Descriptor> =>
    (JSON.parse(await readFile(blob(image.digest), 'utf8')) as { config: Descriptor }).config;

  test.each([
    ['the first byte of a layer', () => layer.descriptor.digest, 0],
    ['the middle of a layer', () => layer.descriptor.digest, 100_000],
    ['the checksum at the end of a gzip', () => layer.descriptor.digest, -6],
  ])('%s changed', async (_name, digest, place) => {
    await flip(digest(), place);
    const run = await runJson<ErrorDocument>(['convert', 'oci:source', 'oci:dst:new'], { cwd: folder });
    expect(run.exitCode, run.stderr).toBe(3);
    expect(await readdir(folder)).toEqual(['source']);
  });

  test('a plain tar with one changed byte of data', async () => {
    const plain = { descriptor: builder.put(oci.tar, tar), diffId: digestOf(tar) };
    builder.name(builder.image([plain]));
    await flip(plain.descriptor.digest, 200_000);
    expect(await expectRefused(3, 'MISMATCH')).toContain(plain.descriptor.digest);
  });

  test('a changed manifest', async () => {
    await flip(image.digest, 20);
    expect(await expectRefused(3, 'MISMATCH')).toContain(image.digest);
  });

  test('a changed config', async () => {
    const { digest } = await config();
    await flip(digest, 20);
    expect(await expectRefused(3, 'MISMATCH')).toContain(digest);
  });

  test('a layer of another size', async () => {
    await writeFile(
      blob(layer.descriptor.digest),
      (await readFile(blob(layer.descriptor.digest))).subarray(1),
    );
    await expectRefused(3, 'MISMATCH');
  });

  test('a layer, a config, a manifest that is missing', async () => {
    for (const digest of [layer.descriptor.digest, (await config()).digest, image.digest]) {
      const bytes = await readFile(blob(digest));
      await rm(blob(digest));
      expect(await expectRefused(1, 'NOT_FOUND')).toContain(digest.slice(7));
      await writeFile(blob(digest), bytes);
    }
  });

  test('a DiffID of something else', async () => {
    builder.name(builder.image([{ ...layer, diffId: digestOf(Buffer.from('else')) }]));
    expect(await expectRefused(3, 'MISMATCH')).toMatch(/DiffID/);
  });

  test('more DiffIDs than layers', async () => {
    builder.name(
      builder.image([layer], {
        config: { rootfs: { type: 'layers', diff_ids: [layer.diffId, layer.diffId] } },
      }),
    );
    await expectRefused(3, 'CORRUPT');
  });

  test('a gzip that is cut short, under its own digest', async () => {
    const cut = builder.put(oci.tarGzip, gzipSync(tar).subarray(0, 50_000));
    builder.name(builder.image([layer, { descriptor: cut, diffId: digestOf(tar) }]));
    await expectRefused(3, 'CORRUPT');
  });

  test('a tar that is cut short, under its own digests', async () => {
    builder.name(builder.image([layer, builder.tarLayer(tar.subarray(0, 200_000))]));
    await expectRefused(3, 'CORRUPT');
  });

  test('an index.json that is no JSON, and an image of no layout', async () => {
    await writeFile(at('source/index.json'), '{"schemaVersion":2,"manifests":[');
    await expectRefused(3, 'CORRUPT');
    await writeFile(at('source/index.json'), '{"schemaVersion":2,"manifests":{}}');
    await expectRefused(3, 'CORRUPT');
  });

  test.each(['application/octet-stream', 'application/vnd.oci.image.layer.v1.squashfs'])(
    'a layer of media type %s',
    async (mediaType) => {
      const strange = { descriptor: builder.put(mediaType, noise(5000, 'strange')), diffId: layer.diffId };
      builder.name(builder.image([layer, strange]));
      expect(await expectRefused(1, 'UNSUPPORTED')).toContain(mediaType);
    },
  );
});

describe('a place that can not be used', () => {
  beforeEach(() => {
    builder.name(builder.image([builder.tarLayer(tar)]));
  });

  test('a parent folder that is missing', async () => {
    for (const destination of ['oci:no/dst:new', 'oci-archive:no/dst.tar']) {
      const ended = await runJson<ErrorDocument>(['convert', 'oci:source', destination], { cwd: folder });
      expect(ended.exitCode, ended.stderr).toBe(1);
      expect(ended.document.error.code).toBe('NOT_FOUND');
    }
    expect(await readdir(folder)).toEqual(['source']);
  });

  test('a folder full of other things', async () => {
    await mkdir(at('full'));
    await writeFile(at('full/mine'), 'mine');
    const ended = await runJson<ErrorDocument>(['convert', 'oci:source', 'oci:full:new'], { cwd: folder });
    expect(ended.exitCode, ended.stderr).toBe(2);
    expect(await readdir(at('full'))).toEqual(['mine']);
  });

  test.skipIf(rootOnly !== null)(
    titleOf('a source and a destination of somebody else', rootOnly),
    async () => {
      const nobody = { uid: 65534 };
      await mkdir(at('theirs'));
      await chmod(folder, 0o777);
      const readable = await runCli(['convert', 'oci:source', 'oci:theirs:new'], { cwd: folder, ...nobody });
      expect({ exitCode: readable.exitCode, stderr: readable.stderr }).toEqual({
        exitCode: 1,
        stderr: expect.stringMatching(/^error: [^\n]+permission denied[^\n]*\n$/) as string,
      });
      expect(await readdir(at('theirs'))).toEqual([]);
      await chmod(at('source/blobs'), 0o700);
      expect(await expectRefused(1, 'IO', nobody)).toContain('permission denied');
    },
  );

  describe.skipIf(rootOnly !== null)(titleOf('a full disk', rootOnly), () => {
    let disk: string;
    beforeAll(async () => {
      disk = await mkdtemp(join(tmpdir(), 'faults-disk-'));
      run('mount', ['-t', 'tmpfs', '-o', 'size=200k', 'tmpfs', disk]);
    });
    afterAll(async () => {
      run('umount', [disk]);
      await rm(disk, { recursive: true });
    });

    test.each([
      ['under a layout', () => [`oci:${disk}/dst:new`]],
      ['under an archive', () => [`oci-archive:${disk}/dst.tar:new`]],
      ['under --tmp-dir', () => ['oci-archive:dst.tar:new', '--tmp-dir', disk]],
    ])('%s', async (_name, args) => {
      const ended = await runJson<ErrorDocument>(['convert', 'oci:source', ...args()], { cwd: folder });
      expect({ exitCode: ended.exitCode, code: ended.document.error.code }, ended.stderr).toEqual({
        exitCode: 1,
        code: 'NO_SPACE',
      });
      expect(ended.stderr).toMatch(/^error: [^\n]+\n$/);
      expect(await readdir(disk)).toEqual([]);
      expect(await readdir(folder)).toEqual(['source']);
    });

    test('under a layout with an image, which stays', async () => {
      const old = new LayoutBuilder(join(disk, 'old'));
      old.name(old.image([old.tarLayer(await makeTar([{ name: 'old', content: 'old' }]))]), 'old');
      const ended = await runCli(['convert', 'oci:source', `oci:${disk}/old:new`], { cwd: folder });
      expect(ended.exitCode, ended.stderr).toBe(1);
      expect(checkCleanLayout(join(disk, 'old'))).toEqual(['old']);
      await rm(join(disk, 'old'), { recursive: true });
    });
  });
});

test.skipIf(rootOnly !== null)(
  titleOf('inodes that are used up are the cause that is told, and nothing is left', rootOnly),
  async () => {
    builder.name(builder.image([builder.tarLayer(tar)]));
    for (let inodes = 1; ; inodes++) {
      const disk = await mkdtemp(join(tmpdir(), 'faults-inodes-'));
      run('mount', ['-t', 'tmpfs', '-o', `nr_inodes=${inodes + 1}`, 'tmpfs', disk]); // one is the root's
      try {
        const args = ['convert', 'oci:source', `oci:${disk}/dst:new`];
        const { document, ...ended } = await runJson<ErrorDocument>(args, { cwd: folder });
        if (ended.exitCode === 0) break;
        expect(document.error, ended.stderr).toMatchObject({ code: 'NO_SPACE' });
        expect(await readdir(disk), `${inodes} inodes`).toEqual([]);
      } finally {
        run('umount', [disk]);
        await rm(disk, { recursive: true });
      }
    }
  },
);

test('half a gigabyte of zeros in a small gzip takes no memory', async () => {
  const bomb = gzipSync(Buffer.alloc(512 << 20), { level: 1 });
  await put('bomb', bomb);
  const ended = await runCli(['encode', 'bomb', 'out'], { cwd: folder, measure: true });
  expect(ended.exitCode, ended.stderr).toBe(0); // zeros are an empty tar
  expect(ended.peakMemory).toBeLessThan(200 << 20);
});

test('what is on PATH is of no use to a conversion', () => {
  builder.name(builder.image([builder.tarLayer(tar)]));
  const program = join(__dirname, '../../dist/cli/main.js');
  const args = [program, 'convert', 'oci:source', 'oci:dst:new', '--dm-verity'];
  const { status, stderr } = spawnSync(process.execPath, args, {
    cwd: folder,
    env: { PATH: '/nowhere' },
    encoding: 'utf8',
  });
  expect(status, stderr).toBe(0);
  expect(checkCleanLayout(at('dst'))).toEqual(['new']);
});
