import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { idOf, MountState, resolveTarget } from '../../src/mount/state';
import type { MountRecord } from '../../src/mount/state-records';
import { releaseUnused } from '../../src/mount/release';
import { at, folder, useFolders } from '../e2e/workspace';
import { refusal } from '../support/refusal';

useFolders();

const key = 'a'.repeat(64);
const record = (target: string, keys: string[] = [key]): MountRecord => ({
  target,
  madeTarget: false,
  kind: 'erofs',
  source: 'seekable-erofs-test',
  rw: null,
  mounted: false,
  layers: keys.map((key) => ({ diffId: 'sha256:d', device: '', verity: 'none', key })),
});

describe('the folder', () => {
  test('is made private, and known by one name', async () => {
    await mkdir(at('real'));
    await symlink('real', at('link'));
    const state = await MountState.open(at('link/state'));
    expect(state.folder).toBe(at('real/state'));
    expect((await readdir(at('real/state'))).sort()).toEqual(['content', 'layers', 'mounts']);
  });

  test('is refused where others can write, or lead elsewhere', async () => {
    await mkdir(at('open'));
    await chmod(at('open'), 0o777);
    await expect(MountState.open(at('open'))).rejects.toThrow(refusal('USAGE', at('open')));
    await mkdir(at('target'));
    await symlink('target', at('link'));
    await expect(MountState.open(at('link'))).rejects.toThrow(refusal('USAGE', at('link')));
    await writeFile(at('file'), '');
    await expect(MountState.open(at('file'))).rejects.toThrow();
  });

  test('is not made just to look', async () => {
    expect(await MountState.openExisting(at('none'))).toBeNull();
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('looking', () => {
  test('changes nothing, and others than root may look but not keep a lock', async () => {
    expect(await MountState.look(at('none'))).toBeNull();
    const state = await MountState.open(at('state'));
    await state.writeMount(record('/a'));
    const { mode } = await stat(at('state'));
    expect([mode & 0o777, (await stat(at('state/mounts'))).mode & 0o777]).toEqual([0o755, 0o755]);
    for (const name of ['content', 'layers'])
      expect((await stat(at(`state/${name}`))).mode & 0o777).toBe(0o700);
    await rm(at('state/content'), { recursive: true });
    expect(await (await MountState.look(at('state')))!.mounts()).toEqual([record('/a')]);
    expect((await readdir(at('state'))).sort()).toEqual(['layers', 'mounts']);
    await state.locked(async () => {
      expect((await stat(at('state/lock'))).mode & 0o777).toBe(0o600);
    });
  });

  test('not at what others could change', async () => {
    await mkdir(at('open'));
    await chmod(at('open'), 0o777);
    await expect(MountState.look(at('open'))).rejects.toThrow(refusal('USAGE', at('open')));
  });
});

describe('records', () => {
  test.each([
    '',
    '{',
    'null',
    '[]',
    '{"target":"/a"}',
    '{"target":"/a","kind":"erofs","source":"s","layers":[null]}',
  ])('one that became %j is lost, and in nobody’s way', async (text) => {
    const state = await MountState.open(at('state'));
    await state.writeMount(record('/a'));
    await state.writeMount(record('/b'));
    await state.makeLayerFolder(key);
    await state.writeLayer(key, { files: [], backing: 'file', dm: null, loops: [] });
    const [name] = (await readdir(at('state/mounts'))).filter((name) => name.startsWith(idOf('/a')));
    await writeFile(at(`state/mounts/${name}`), text);
    await writeFile(at(`state/layers/${key}/layer.json`), text);
    expect(await state.mounts()).toEqual([record('/b')]);
    expect(await state.readMount('/a')).toMatchObject({ target: '/a', kind: null, layers: [] });
    expect(await state.readLayer(key)).toBe('lost');
    expect(await state.removeLostRecords()).toBe(1);
    expect(await state.readMount('/a')).toBeNull();
    expect(await state.mounts()).toEqual([record('/b')]);
  });

  test('of a newer program are refused by name, and stay as they are', async () => {
    const state = await MountState.open(at('state'));
    await state.writeMount(record('/a'));
    await state.makeLayerFolder(key);
    await state.writeLayer(key, { files: [], backing: 'file', dm: null, loops: [] });
    for (const [file, use] of [
      [`layers/${key}/layer.json`, () => state.readLayer(key)],
      [`mounts/${idOf('/a')}.json`, () => state.readMount('/a')],
      [`mounts/${idOf('/a')}.json`, () => state.mounts()],
      [`mounts/${idOf('/a')}.json`, () => state.removeLostRecords()],
    ] as const) {
      const newer = (await readFile(at(`state/${file}`), 'utf8')).replace(/"version":\d+/, '"version":99');
      await writeFile(at(`state/${file}`), newer);
      await expect(use()).rejects.toThrow(refusal('UNSUPPORTED', at(`state/${file}`)));
      await expect(use()).rejects.toMatchObject({
        why: expect.stringMatching(/version 99, .* up to version \d+$/) as string,
        hint: expect.stringContaining('later') as string,
      });
      expect(await readFile(at(`state/${file}`), 'utf8')).toBe(newer);
    }
  });

  test('from before they had versions are read', async () => {
    const state = await MountState.open(at('state'));
    const layer = { files: [], backing: 'file', dm: null, loops: [] } as const;
    await state.makeLayerFolder(key);
    await writeFile(at(`state/mounts/${idOf('/a')}.json`), JSON.stringify(record('/a')));
    await writeFile(at(`state/layers/${key}/layer.json`), JSON.stringify(layer));
    expect(await state.readMount('/a')).toEqual(record('/a'));
    expect(await state.mounts()).toEqual([record('/a')]);
    expect(await state.readLayer(key)).toEqual(layer);
  });

  test('are kept by target, and listed in order', async () => {
    const state = await MountState.open(at('state'));
    await state.writeMount(record('/b'));
    await state.writeMount(record('/a'));
    await writeFile(at('state/mounts/.seekable-erofs-unfinished'), '{');
    expect((await state.mounts()).map(({ target }) => target)).toEqual(['/a', '/b']);
    expect(await state.readMount('/a')).toEqual(record('/a'));
    await state.removeMount('/a');
    expect(await state.readMount('/a')).toBeNull();
    await state.removeUnfinished();
    expect(await readdir(at('state/mounts'))).toHaveLength(1);
  });

  test('a target that is being mounted is left alone by those who do not wait', async () => {
    const state = await MountState.open(at('state'));
    const outcome = await state.lockedTarget('/a', () =>
      state.lockedTarget('/a', () => Promise.resolve('in'), { wait: false }),
    );
    expect(outcome).toBeNull();
    expect(await state.lockedTarget('/a', () => Promise.resolve('in'), { wait: false })).toBe('in');
    expect(await readdir(at('state/mounts'))).toEqual([]);
  });
});

describe('layers', () => {
  test('that no mount has are forgotten with their content, others stay', async () => {
    const state = await MountState.open(at('state'));
    const used = 'b'.repeat(64);
    await state.writeMount(record('/a', [used]));
    await state.writeMount(record('/c', [key]));
    for (const name of [key, used]) {
      await state.makeLayerFolder(name);
      await state.makeContentFolder(name);
      await writeFile(state.contentFile(name), 'image');
      await state.writeLayer(name, {
        files: [state.contentFile(name)],
        backing: 'file',
        dm: null,
        loops: [],
      });
    }
    expect(await releaseUnused(state, '/c')).toEqual([]);
    expect(await state.layerKeys()).toEqual([used]);
    expect(await readFile(state.contentFile(used), 'utf8')).toBe('image');
    expect(existsSync(at(`state/layers/${key}`))).toBe(false);
  });

  test('a mount point with something in it is never removed', async () => {
    const state = await MountState.open(at('state'));
    await state.makeLayerFolder(key);
    await writeFile(`${state.mountPoint(key)}/precious`, '');
    await state.removeLayer(key);
    expect(existsSync(`${state.mountPoint(key)}/precious`)).toBe(true);
  });
});

test('a target is known by its real path, there or not', async () => {
  await mkdir(at('real'));
  await symlink('real', at('link'));
  expect(await resolveTarget(at('link'))).toBe(at('real'));
  expect(await resolveTarget(at('link/new'))).toBe(at('real/new'));
  expect(await resolveTarget(at('no/such'))).toBe(at('no/such'));
});
