import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { openErofs } from '../../../src/erofs/filesystem';
import type { ProgressEvent } from '../../../src/job';
import { buildErofs } from '../../../src/layer/build';
import { encodeLayer, settingsOf } from '../../../src/layer/encode';
import { mkfsArguments } from '../../../src/layer/mkfs/mkfs';
import { mkfsSettings } from '../../../src/layer/mkfs/options';
import { goldenFile, recordedTree } from '../../erofs/erofs-images';
import { listing } from '../../erofs/listing';
import { caught } from '../../support/caught';
import { MemorySource } from '../../support/memory-source';
import { writeStandIn, type StandIn } from '../../support/mkfs';
import { refusal } from '../../support/refusal';

// A script stands in for mkfs.erofs, and gives golden images of the real one: e2e/mkfs.test.ts has that itself, where it is installed.

const tar = goldenFile('ref.tar');
const tarHash = createHash('sha256').update(tar).digest('hex');
/** The most common whole mtime of the entries of ref.tar. */
const epoch = '1700000000';

let root: string;
let number = 0;
let folder: string;
const at = (name: string): string => join(folder, name);
const argumentsSeen = (): string[] => readFileSync(at('tool/arguments'), 'utf8').trimEnd().split('\n');
const valueOf = (flag: string): string => argumentsSeen()[argumentsSeen().indexOf(flag) + 1]!;
const hashOf = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

/** RFC 4122, version 5, of a name in the URL namespace. */
function uuid5(name: string): string {
  const space = Buffer.from('6ba7b8119dad11d180b400c04fd430c8', 'hex');
  const bytes = createHash('sha1').update(space).update(name).digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x50;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** Puts a stand-in in the place of mkfs.erofs. `golden` is what it makes. */
function use(golden: string, { script = '', ...rest }: Partial<StandIn> = {}): void {
  writeFileSync(at('golden'), goldenFile(golden));
  const make = `cat >'${at('input')}'; cat '${at('golden')}' >"$IMAGE"`;
  process.env['MKFS_EROFS'] = writeStandIn(at('tool'), { ...rest, script: script === '' ? make : script });
}

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'mkfs-'));
});
afterAll(() => {
  rmSync(root, { recursive: true });
});
const saved = { ...process.env };
beforeEach(() => {
  folder = mkdtempSync(join(root, `${number++}-`));
  writeFileSync(at('layer.tar'), tar);
});
afterEach(() => {
  process.env = { ...saved };
});

describe('the options of mkfs.erofs', () => {
  it('are words, of which the short options are known', () => {
    expect(mkfsSettings({})).toBeNull();
    const settings = mkfsSettings({ mkfs: `-zlz4hc,level=9 -L -T --chunksize 4096 -T '5' --all-root` });
    expect(settings).toMatchObject({ mode: 'full', letters: new Set(['z', 'L', 'T']) });
    expect(mkfsSettings({ mkfs: '-L -T' })?.letters).toEqual(new Set(['L']));
    expect(mkfsSettings({ mkfs: '' })).toMatchObject({ mode: 'full', words: [] });
    expect(mkfsSettings({ mkfsTarIndex: true })).toMatchObject({ mode: 'index', words: [] });
  });

  it.each(['image', '-zlz4 image', '--chunksize=4096 image', '--', '-', '""', '-T 5 6'])(
    'are refused where one names a file: %s',
    (mkfs) => {
      expect(() => mkfsSettings({ mkfs })).toThrow(refusal('USAGE', 'is no option'));
    },
  );

  it('exclude the tar index', () => {
    expect(() => mkfsSettings({ mkfs: '', mkfsTarIndex: true })).toThrow(refusal('USAGE', 'its own'));
  });

  it.each([
    [-5, '-5'],
    [-1, '0'], // which mkfs.erofs takes for no time at all
    [2 ** 33, '8589934592'],
  ])('follow those for an epoch of %d', (time, text) => {
    const tarDigest = `sha256:${tarHash}`;
    const words = mkfsArguments(mkfsSettings({ mkfs: '-zlz4' })!, { epoch: time, tarDigest });
    expect(words[words.indexOf('-T') + 1]).toBe(text);
    expect(words.slice(-2)).toEqual(['-zlz4', '/proc/self/fd/3']);
  });

  it('give dm-verity the blocks of a tar index', () => {
    const index = { mkfsTarIndex: true, dmVerity: true };
    expect(settingsOf(index).verity).toMatchObject({ blockSize: 512 });
    expect(settingsOf({ mkfs: '', dmVerity: true }).verity).toMatchObject({ blockSize: 4096 });
    expect(() => settingsOf({ ...index, dmVerityBlockSize: 4096 })).toThrow(
      refusal('USAGE', 'blocks of 512'),
    );
  });
});

describe('an image by mkfs.erofs', () => {
  it('is made of the tar with arguments that depend on it alone', async () => {
    use('tar-lz4.erofs');
    process.env['SOURCE_DATE_EPOCH'] = '7';
    const built = await buildErofs(at('layer.tar'), at('image'), { mkfs: "-zlz4 -L 'a b'", tmpDir: folder });
    expect(readFileSync(at('image')).equals(goldenFile('tar-lz4.erofs'))).toBe(true);
    const inodes = recordedTree().filter(({ hardlink_of }) => hardlink_of === undefined).length;
    expect(built).toMatchObject({ diffId: `sha256:${hashOf(at('image'))}`, blockSize: 4096, inodes });
    expect(argumentsSeen()).toEqual([
      ...['--tar=f', '--aufs', '--quiet', '-Enoinline_data', '-b4096', '-T', epoch, '--mkfs-time'],
      ...['-U', uuid5(`erofs:mkfs/${tarHash}/-zlz4 -L 'a b'`), '-zlz4', '-L', 'a b', '/proc/self/fd/3'],
    ]);
    expect(hashOf(at('input'))).toBe(tarHash);
    const environment = readFileSync(at('tool/environment'), 'utf8').split('\n');
    expect(environment).toContain(`TMPDIR=${folder}`);
    expect(environment.filter((line) => line.startsWith('SOURCE_DATE_EPOCH='))).toEqual([]);
  });

  it('is the same of a compressed tar', async () => {
    use('tar-lz4.erofs');
    writeFileSync(at('layer.tar.gz'), gzipSync(tar));
    const events: ProgressEvent[] = [];
    const onProgress = (event: ProgressEvent): void => void events.push(event);
    await buildErofs(at('layer.tar.gz'), at('image'), { mkfs: '', onProgress });
    expect(hashOf(at('input'))).toBe(tarHash);
    expect(valueOf('-U')).toBe(uuid5(`erofs:mkfs/${tarHash}/`));
    const last = events.filter(({ phase }) => phase === 'mkfs').at(-1);
    expect(last).toMatchObject({ done: tar.length, total: tar.length, unit: 'bytes' });
  });

  it('has the time and the UUID that the user asks for', async () => {
    use('tar-lz4.erofs');
    await buildErofs(at('layer.tar'), at('image'), { mkfs: '-T 5 -U clear' });
    expect(argumentsSeen().slice(5)).toEqual(['-T', '5', '-U', 'clear', '/proc/self/fd/3']);
  });

  it('with --mkfs-tar-index is an index, and behind it the tar', async () => {
    use('tar-index512.erofs');
    const built = await buildErofs(at('layer.tar'), at('image'), { mkfsTarIndex: true });
    const image = readFileSync(at('image'));
    expect(image.equals(Buffer.concat([goldenFile('tar-index512.erofs'), tar]))).toBe(true);
    expect(built.blockSize).toBe(512);
    expect(argumentsSeen()).toEqual([
      ...['--tar=i', '--aufs', '--quiet', '-T', epoch, '--mkfs-time'],
      ...['-U', uuid5(`erofs:mkfs/${tarHash}/`), '/proc/self/fd/3'],
    ]);
    expect(await listing(await openErofs(new MemorySource(image)))).toEqual(recordedTree());
  });

  it('ends with a whole block where the tar behind the index does not', async () => {
    use('tar-index512.erofs');
    const garbage = Buffer.concat([tar, Buffer.from('garbage')]);
    writeFileSync(at('layer.tar'), garbage);
    await buildErofs(at('layer.tar'), at('image'), { mkfsTarIndex: true });
    const padded = Buffer.concat([garbage, Buffer.alloc(512 - 7)]);
    const image = readFileSync(at('image'));
    expect(image.equals(Buffer.concat([goldenFile('tar-index512.erofs'), padded]))).toBe(true);
  });

  it('is not made of a layer that is one already, and a warning says so', async () => {
    use('tar-lz4.erofs');
    writeFileSync(at('layer.erofs'), goldenFile('tar-default.erofs'));
    const warnings: string[] = [];
    const onWarning = (line: string): void => void warnings.push(line);
    const encoded = await encodeLayer(at('layer.erofs'), at('blob'), { mkfs: '-zlz4', onWarning });
    expect(encoded.diffId).toBe(`sha256:${hashOf(at('layer.erofs'))}`);
    expect(warnings).toEqual([`${at('layer.erofs')}: it is EROFS already, so --mkfs has no effect on it`]);
    expect(existsSync(at('tool/arguments'))).toBe(false);
  });
});

describe('a machine without mkfs.erofs', () => {
  const build = () => caught(() => buildErofs(at('layer.tar'), at('image'), { mkfs: '' }));

  it.each([
    ['1.5', 1, 'it is version 1.5'],
    ['1.7.1', 0, 'it is version 1.7.1'],
    ['', 0, 'does not tell its version'],
  ])('may have one of version "%s"', async (version, versionExit, why) => {
    use('tar-lz4.erofs', { version, versionExit });
    const error = await build();
    expect(error).toMatchObject({
      code: 'MACHINE',
      exitCode: 4,
      why: expect.stringContaining(why) as string,
    });
    expect(error.hint).toContain('erofs-utils 1.8 or newer');
    expect(existsSync(at('tool/arguments'))).toBe(false);
    expect(existsSync(at('image'))).toBe(false);
  });

  it.each(['1.8', '1.9.3', '1.10-rc1', '2.0'])('is not one with version %s', async (version) => {
    use('tar-lz4.erofs', { version });
    await buildErofs(at('layer.tar'), at('image'), { mkfs: '' });
  });

  it('has none where $MKFS_EROFS points, nor on PATH', async () => {
    process.env['MKFS_EROFS'] = at('nothing');
    expect(await build()).toMatchObject({ code: 'MACHINE', what: at('nothing'), why: 'not found' });
    process.env['MKFS_EROFS'] = at('layer.tar');
    expect(await build()).toMatchObject({ code: 'MACHINE', why: 'it is no program that may be run' });
    process.env['MKFS_EROFS'] = '';
    process.env['PATH'] = folder;
    expect(await build()).toMatchObject({ code: 'MACHINE', what: 'mkfs.erofs', why: 'not found' });
  });

  it('is not one that has it on PATH', async () => {
    use('tar-lz4.erofs');
    delete process.env['MKFS_EROFS'];
    process.env['PATH'] = `${at('tool')}:${process.env['PATH']!}`;
    await buildErofs(at('layer.tar'), at('image'), { mkfs: '' });
    expect(argumentsSeen()).toContain('--tar=f');
  });
});

describe('an mkfs.erofs that fails', () => {
  const refuse = async (script: string, options: object = { mkfs: '' }) => {
    use('tar-index512.erofs', { script });
    const error = await caught(() =>
      buildErofs(at('layer.tar'), at('image'), { ...options, tmpDir: folder }),
    );
    expect(readdirSync(folder).sort()).toEqual(['golden', 'layer.tar', 'tool']);
    return error;
  };
  const golden = (): string => `cat '${at('golden')}' >"$IMAGE"`;

  it('is reported with the line that says why', async () => {
    const script = `echo 'mkfs.erofs 1.8.10'
echo '<W> erofs: odd' >&2; echo '<E> erofs: no compressor foo' >&2; echo '<E> erofs: format' >&2; exit 1`;
    expect(await refuse(script)).toMatchObject({ code: 'FAILED', why: 'exit code 1: no compressor foo' });
    const usage = 'echo "$0: unrecognized option" >&2; exit 1';
    expect(await refuse(usage)).toMatchObject({ code: 'FAILED', why: 'exit code 1: unrecognized option' });
    expect(await refuse('exit 9')).toMatchObject({ code: 'FAILED', why: 'exit code 9' });
    expect(await refuse('kill -SEGV $$')).toMatchObject({ code: 'FAILED', why: 'killed by SIGSEGV' });
  });

  it('is noticed when it wrote no image, or one with its data elsewhere', async () => {
    expect(await refuse('exit 0')).toMatchObject({
      code: 'FAILED',
      why: expect.stringContaining('no image') as string,
    });
    expect(await refuse('head -c 9000 /dev/zero >"$IMAGE"')).toMatchObject({ code: 'FAILED' });
    const elsewhere = await refuse(golden());
    expect(elsewhere).toMatchObject({ code: 'FAILED', why: 'it made an image whose data is elsewhere' });
  });

  it('is noticed when its index does not end where the tar begins', async () => {
    const error = await refuse(`${golden()}; head -c 512 /dev/zero >>"$IMAGE"`, { mkfsTarIndex: true });
    expect(error).toMatchObject({
      code: 'FAILED',
      why: expect.stringContaining('wants the tar at 103424') as string,
    });
  });

  it('may not even be asked: a tar that is cut short is refused before', async () => {
    writeFileSync(at('layer.tar'), tar.subarray(0, 100_000));
    const error = await refuse(golden());
    expect(error.code).toBe('CORRUPT');
    expect(existsSync(at('tool/arguments'))).toBe(false);
  });
});

describe('cancelling', () => {
  it('kills mkfs.erofs, whatever it runs, and leaves nothing', async () => {
    use('tar-lz4.erofs', { script: `echo $$ >'${at('tool/pid')}'; cat >/dev/null; sleep 3600; exit 0` });
    const abort = new AbortController();
    const onProgress = ({ phase, done, total }: ProgressEvent): void => {
      if (phase === 'mkfs' && done === total)
        setTimeout(() => {
          abort.abort();
        }, 50);
    };
    const options = { mkfs: '', tmpDir: folder, signal: abort.signal, onProgress };
    const error = await caught(() => buildErofs(at('layer.tar'), at('image'), options));
    expect(error.code).toBe('CANCELLED');
    const pid = Number(readFileSync(at('tool/pid'), 'utf8'));
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    expect(readdirSync(folder).sort()).toEqual(['golden', 'layer.tar', 'tool']);
  });
});
