import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { MountResult } from '../../src/index';
import { documentOf, runCli, runJson } from '../e2e/run-cli';
import { noise, sampleTar } from '../e2e/sample';
import { at, encodeSample, expectFailure, folder, put } from '../e2e/workspace';
import { refusal } from '../support/refusal';
import type { TarEntryBytes } from '../support/tar-bytes';
import { rootOnly, run, titleOf, whyNoMounts, whyWithout } from './support/machine';
import {
  dir,
  expectNothingLeft,
  leftovers,
  library,
  mountByLoop,
  options,
  root,
  state,
  threeLayers,
  useMounts,
  walk,
  writeImage,
} from './support/mounting';

// The claim: the kernel shows an image's own tree, whoever mounts the layers and however many they are, and nothing is left of a mount
// that was undone. dm-verity is tested in a virtual machine: test/vm.

useMounts();

const reason = whyNoMounts();
const { mountImage, unmountImage, listMounts, repairMounts } = library;

/** Overlayfs numbers inodes by layer, and neither says when a folder was changed by what was put into it or taken away. */
function forgetOwnAffairs(entry: Record<string, unknown>): void {
  if (entry['type'] === 'dir') delete entry['mtime'];
  if (entry['nlink'] === 1) delete entry['inode'];
}

describe.skipIf(reason !== null)(titleOf('mount', reason), () => {
  test('a layer: its tree, where it is listed, and all of it undone, twice', async () => {
    const { blob, descriptor, encoded } = await encodeSample('--dm-verity');
    run('mkdir', [at('expected')]);
    run('tar', ['-xpf', at('layer.tar'), '-C', at('expected')]);
    const args = ['mount', blob, at('target'), '--descriptor', descriptor, '--state', state];
    const { document, stderr } = await runJson<MountResult>(args);
    expect(stderr).toMatch(/^warning: .*dm-verity trees are checked whole, before mounting/);
    expect(document.layers).toEqual([
      { diffId: encoded.diffId, device: expect.any(String) as string, verity: 'userspace' },
    ]);
    const [expected, actual] = [walk(at('expected')), walk(at('target'))];
    for (const tree of [expected, actual])
      for (const path of ['/', '/usr', '/usr/bin', '/usr/share']) tree.delete(path);
    expect(actual).toEqual(expected);
    expect(await documentOf(['mounts', '--state', state])).toEqual([document]);
    const [line] = run('findmnt', ['-no', 'OPTIONS', at('target')])
      .toString()
      .split('\n');
    expect(line).toMatch(/^ro,nosuid,nodev/);
    const umount = ['umount', at('target'), '--state', state];
    expect(await documentOf(umount)).toEqual({ target: at('target'), undone: ['erofs'] });
    expect(await documentOf(umount)).toEqual({ target: at('target'), undone: [] });
    expect(existsSync(at('target'))).toBe(false); // it was made for the mount
    await expectNothingLeft();
  });

  test('what makes no sense, or is not what it should be, mounts nothing', async () => {
    const { blob, descriptor } = await encodeSample();
    const mount = (...args: string[]) => ['mount', ...args, '--state', state];
    const tarHint = await expectFailure(mount(at('layer.tar'), at('target')), 2, 'USAGE');
    expect(tarHint).toContain('encode');
    await expectFailure(
      mount(blob, at('target'), '--verity', 'require', '--descriptor', descriptor),
      1,
      'FAILED',
    );
    await expectFailure(mount(blob, blob, '--descriptor', descriptor), 2, 'USAGE');
    await expectFailure(mount(blob, at('no/such'), '--descriptor', descriptor), 1, 'NOT_FOUND');
    await expectFailure(mount(blob, at('target'), '--verity', 'off', '--verity-options', 'x'), 2, 'USAGE');
    const bytes = readFileSync(blob);
    bytes[5000]! ^= 1;
    writeFileSync(blob, bytes);
    await expectFailure(mount(blob, at('target'), '--descriptor', descriptor), 3, 'MISMATCH');
    expect(existsSync(at('target'))).toBe(false);
    await expectNothingLeft();
  });

  test('dm-verity that is required needs a kernel that has it', async () => {
    const { blob, descriptor } = await encodeSample('--dm-verity');
    const args = [
      'mount',
      blob,
      at('target'),
      '--descriptor',
      descriptor,
      '--state',
      state,
      '--verity',
      'require',
    ];
    const { exitCode, stderr } = await runCli(args);
    if (existsSync('/sys/module/dm_verity')) expect(stderr).toBe('');
    else expect(stderr).toMatch(/^error: .*the kernel has no dm-verity/);
    expect(exitCode).toBe(existsSync('/sys/module/dm_verity') ? 0 : 4);
    await unmountImage(at('target'), { state });
  });

  test('a bare blob whose tree nobody vouches for mounts without it, with a warning', async () => {
    const { blob } = await encodeSample('--dm-verity');
    const { document, stderr } = await runJson<MountResult>(['mount', blob, at('target'), '--state', state]);
    expect(document.layers[0]!.verity).toBe('none');
    expect(stderr).toMatch(/warning: .*no descriptor vouches for its dm-verity tree/);
    await unmountImage(at('target'), { state });
    const run = await runCli(['mount', blob, at('target'), '--state', state, '--verity', 'require']);
    expect({ exitCode: run.exitCode, stderr: run.stderr }).toEqual({
      exitCode: 1,
      stderr: expect.stringMatching(/error: .*no descriptor vouches for its dm-verity tree/) as string,
    });
    await expectNothingLeft();
  });

  test('a raw image is mounted where it lies, and checked by its sidecar', async () => {
    const { blob, descriptor } = await encodeSample('--dm-verity');
    await documentOf(['decode', blob, at('image'), '--descriptor', descriptor, '--dm-verity']);
    const { layers } = await mountImage(at('image'), at('target'), options());
    expect(layers[0]).toMatchObject({ device: at('image'), verity: 'userspace' });
    expect(readFileSync(at('target/etc/hostname'), 'utf8')).toBe('sample\n');
    await unmountImage(at('target'), { state });
    const bytes = readFileSync(at('image'));
    bytes[5 * 4096 + 1]! ^= 1;
    writeFileSync(at('image'), bytes);
    await expect(mountImage(at('image'), at('target'), options())).rejects.toThrow(refusal('MISMATCH'));
    expect(existsSync(at('image'))).toBe(true);
    await expectNothingLeft();
  });

  test.skipIf(whyWithout('umoci') !== null)(
    titleOf('three layers are what umoci unpacks, by files and by loop devices', whyWithout('umoci')),
    async () => {
      const reference = await writeImage('three', threeLayers);
      run('umoci', ['unpack', '--image', `${at('three.tars')}:image`, at('bundle')]);
      const expected = walk(at('bundle/rootfs'));
      for (const mount of [mountImage, mountByLoop]) {
        const { layers } = await mount(reference, at('target'), options());
        expect(layers).toHaveLength(3);
        const actual = walk(at('target'));
        for (const tree of [expected, actual]) tree.forEach(forgetOwnAffairs);
        expect(actual).toEqual(expected);
        const { undone } = await unmountImage(at('target'), { state });
        expect(undone).toEqual(mount === mountByLoop ? ['overlay', 'erofs', 'loop'] : ['overlay', 'erofs']);
        await expectNothingLeft();
      }
    },
  );

  test('127 layers, as they are and writable', async () => {
    const layers = Array.from({ length: 127 }, (_, i) => [
      ...[dir('d'), { name: `d/${i}`, content: `${i}` }, { name: 'last', content: `${i}` }],
    ]);
    const reference = await writeImage('many', layers);
    await mountImage(reference, at('target'), options());
    await mountImage(reference, at('writable'), options({ rw: at('rw') }));
    for (const target of ['target', 'writable']) {
      expect(readdirSync(at(`${target}/d`))).toHaveLength(127);
      expect(readFileSync(at(`${target}/last`), 'utf8')).toBe('126');
    }
    writeFileSync(at('writable/d/0'), 'changed');
    expect(() => {
      writeFileSync(at('target/d/0'), 'changed');
    }).toThrow('EROFS');
    expect(await unmountImage(at('target'), { state })).toMatchObject({ undone: ['overlay'] });
    expect(await unmountImage(at('writable'), { state })).toMatchObject({ undone: ['overlay', 'erofs'] });
    expect(readFileSync(at('rw/upper/d/0'), 'utf8')).toBe('changed');
    await expectNothingLeft();
  });

  test('a writable mount of one layer: kept changes, the image’s own root, one writer', async () => {
    const reference = await writeImage('one', [threeLayers[0]!]);
    await mountImage(reference, at('target'), options({ rw: at('rw') }));
    expect(statSync(at('target')).mode & 0o7777).toBe(0o711);
    writeFileSync(at('target/new'), 'x');
    run('rm', ['-r', at('target/opaque')]);
    await expect(mountImage(reference, at('other'), options({ rw: at('rw') }))).rejects.toThrow(
      refusal('FAILED', at('target')),
    );
    await unmountImage(at('target'), { state });
    expect(readdirSync(at('rw')).sort()).toEqual(['upper', 'work']);
    await mountImage(reference, at('target'), options({ rw: at('rw') }));
    expect(readdirSync(at('target')).sort()).toEqual([
      'becomes',
      'etc',
      'link',
      'merged',
      'new',
      'tool',
      'turns',
    ]);
    await unmountImage(at('target'), { state });
    await expectNothingLeft();
  });

  test.skipIf(whyWithout('mkfs.erofs') !== null)(
    titleOf('a layer with an external device, by files and by loop devices', whyWithout('mkfs.erofs')),
    async () => {
      run('mkdir', [at('tree')]);
      await put('tree/file', noise(100_000, 'device'));
      run('mkfs.erofs', ['--chunksize=4096', `--blobdev=${at('device')}`, at('image'), at('tree')]);
      for (const mount of [mountImage, mountByLoop]) {
        await mount(at('image'), at('target'), options({ devices: [at('device')] }));
        expect(readFileSync(at('target/file'))).toEqual(noise(100_000, 'device'));
        await unmountImage(at('target'), { state });
        await expectNothingLeft();
      }
    },
  );

  test('a layer that an image has twice', async () => {
    const [low, middle] = threeLayers as [TarEntryBytes[], TarEntryBytes[]];
    const reference = await writeImage('twice', [low, middle, low]);
    const { layers } = await mountImage(reference, at('target'), options());
    expect(layers).toHaveLength(3);
    expect(layers[0]).toEqual(layers[2]);
    expect(readdirSync(at('target/merged')).sort()).toEqual(['low', 'middle']);
    expect(existsSync(at('target/opaque/fresh'))).toBe(true);
    await unmountImage(at('target'), { state });
    await expectNothingLeft();
  });
});

describe.skipIf(reason !== null)(titleOf('mounts beside each other', reason), () => {
  test('ten at once share their devices; the last one undoes them', async () => {
    const reference = await writeImage('three', threeLayers);
    const targets = Array.from({ length: 10 }, (_, i) => at(`target-${i}`));
    const results = await Promise.all(targets.map((target) => mountByLoop(reference, target)));
    expect(new Set(results.map(({ layers }) => JSON.stringify(layers))).size).toBe(1);
    expect(leftovers().filter((line) => line.startsWith('loop'))).toHaveLength(3);
    expect((await listMounts({ state })).map(({ target }) => target)).toEqual(targets);
    expect(await repairMounts({ state })).toEqual([]);
    const undone = await Promise.all(targets.map((target) => unmountImage(target, { state })));
    expect(undone.filter(({ undone: kinds }) => kinds.length === 1)).toHaveLength(9);
    expect(undone.filter(({ undone: kinds }) => kinds.includes('loop'))).toHaveLength(1);
    await expectNothingLeft();
  });

  test('of several processes', async () => {
    const reference = await writeImage('three', threeLayers);
    const targets = Array.from({ length: 5 }, (_, i) => at(`target-${i}`));
    await Promise.all(targets.map((target) => documentOf(['mount', reference, target, '--state', state])));
    expect(await listMounts({ state })).toHaveLength(5);
    await Promise.all(targets.map((target) => documentOf(['umount', target, '--state', state])));
    await expectNothingLeft();
  });

  test('one target has one mount; a plain and a checked form of a layer are apart', async () => {
    const { blob, descriptor } = await encodeSample('--dm-verity');
    await documentOf(['mount', blob, at('target'), '--descriptor', descriptor, '--state', state]);
    await expect(mountImage(blob, at('target'), options())).rejects.toThrow(refusal('FAILED', 'already'));
    expect(await listMounts({ state })).toHaveLength(1);
    await unmountImage(at('target'), { state });
    await expectNothingLeft();
  });

  test('a mount with open files goes from sight, and its devices with the last of them', async () => {
    const reference = await writeImage('three', threeLayers);
    await mountByLoop(reference, at('target'));
    const reader = spawnSync('sh', [
      ...['-c', 'exec 3<"$0/tool"; "$1" "$2" umount "$0" --state "$3" --json; cat <&3', at('target')],
      ...[process.execPath, join(root, 'dist/cli/main.js'), state],
    ]);
    expect(reader.stdout.toString()).toMatch(/"undone":\["overlay","erofs","loop"\]\}\nsetuid$/);
    await expectNothingLeft();
  });
});

describe.skipIf(reason !== null)(titleOf('what others did', reason), () => {
  test('upon our mount keeps it from being undone, in its place is left alone', async () => {
    const reference = await writeImage('three', threeLayers);
    await mountImage(reference, at('target'), options());
    run('mount', ['-t', 'tmpfs', 'foreign', at('target')]);
    await expect(unmountImage(at('target'), { state })).rejects.toThrow(refusal('FAILED', 'tmpfs'));
    expect(await repairMounts({ state })).toEqual([]);
    run('umount', [at('target')]);
    run('umount', [at('target')]);
    run('mount', ['-t', 'tmpfs', 'foreign', at('target')]);
    expect(await listMounts({ state })).toEqual([]);
    expect(await unmountImage(at('target'), { state })).toEqual({ target: at('target'), undone: ['erofs'] });
    expect(leftovers().join()).toContain('tmpfs foreign');
    run('umount', [at('target')]);
    await expectNothingLeft();
  });

  test.skipIf(whyWithout('losetup') !== null)(
    titleOf('with the same file stays', whyWithout('losetup')),
    async () => {
      await documentOf(['build', await put('layer.tar', await sampleTar()), at('image')]);
      const device = run('losetup', ['--find', '--show', '--read-only', at('image')])
        .toString()
        .trim();
      try {
        const { layers } = await mountByLoop(at('image'), at('target'));
        expect(layers[0]!.device).not.toBe(device);
        expect(await unmountImage(at('target'), { state })).toMatchObject({ undone: ['erofs', 'loop'] });
        expect(leftovers()).toEqual([`${device.slice(5)} ${at('image')}`]);
      } finally {
        run('losetup', ['--detach', device]);
      }
    },
  );

  test('is nothing to umount, to list or to repair', async () => {
    run('mkdir', [at('target')]);
    run('mount', ['-t', 'tmpfs', 'foreign', at('target')]);
    expect(await unmountImage(at('target'), { state })).toEqual({ target: at('target'), undone: [] });
    expect(await listMounts({ state })).toEqual([]);
    expect(await repairMounts({ state })).toEqual([]);
    expect(existsSync(state)).toBe(false);
    run('umount', [at('target')]);
  });
});

test.skipIf(rootOnly !== null)(titleOf('without root: one line, exit code 4', rootOnly), async () => {
  const { blob, descriptor } = await encodeSample('--dm-verity');
  run('chmod', ['-R', 'a+rX', folder]);
  for (const args of [
    ['mount', blob, at('target'), '--descriptor', descriptor],
    ['umount', at('target')],
  ]) {
    const { exitCode, stderr } = await runCli([...args, '--state', state], { uid: 65534 });
    expect({ exitCode, stderr }).toEqual({
      exitCode: 4,
      stderr: expect.stringMatching(/^error: .*needs root.*\n$/) as string,
    });
  }
});
