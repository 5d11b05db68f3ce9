import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DoorLog } from '../../../src/containerd/door-log';
import type { LayerOrigin, PulledImage } from '../../../src/containerd/pulled-images';
import { SnapshotDatabase } from '../../../src/containerd/snapshotter/database';
import { SnapshotFolders } from '../../../src/containerd/snapshotter/folders';
import { Snapshotter } from '../../../src/containerd/snapshotter/snapshotter';

let root: string;
let folders: SnapshotFolders;
let database: SnapshotDatabase;
let snapshotter: Snapshotter;
let image: PulledImage;
/** Numbers of snapshots whose layer is mounted. */
let mounted: Set<number>;
/** DiffIDs of layers that can't be mounted. */
let broken: Set<string>;
/** What containerd answers, by namespace and chain ID. */
let asked: Map<string, { reference: string; manifest: string }[]>;

const origin = (diffId: string): LayerOrigin => ({
  image: 'docker://r/i@sha256:1',
  layer: `blob of ${diffId}`,
  diffId,
});

async function start(): Promise<void> {
  folders = await SnapshotFolders.open(root);
  database = await SnapshotDatabase.open(folders.database);
  snapshotter = new Snapshotter({
    database,
    folders,
    mounts: {
      ensure: (id, { diffId, layer }) => {
        if (layer === null) return Promise.resolve(null);
        if (broken.has(diffId)) return Promise.reject(new Error(`${diffId} is broken`));
        mkdirSync(folders.layer(id), { recursive: true });
        mounted.add(id);
        return Promise.resolve(`key of ${diffId}`);
      },
      remove: (id) => {
        mounted.delete(id);
        rmSync(folders.layer(id), { recursive: true, force: true });
        return Promise.resolve();
      },
    },
    images: { find: () => Promise.resolve(image) },
    ask: (namespace, chainId) => Promise.resolve(asked.get(`${namespace} ${chainId}`) ?? []),
    content: root,
    log: new DoorLog(),
  });
}

beforeEach(async () => {
  root = join(mkdtempSync(join(tmpdir(), 'snapshotter-')), 'containerd');
  [mounted, broken] = [new Set(), new Set()];
  asked = new Map();
  image = { layers: ['a', 'b', 'c'].map((diffId) => ({ diffId, origin: origin(diffId) })) };
  await start();
});
afterEach(async () => {
  await database.close();
  rmSync(join(root, '..'), { recursive: true });
});

const labelsOf = (diffId: string, target: string): Record<string, string> => ({
  'containerd.io/snapshot.ref': target,
  'containerd.io/snapshot/diff-id': diffId,
  'containerd.io/snapshot/cri.image-ref': 'r/i:tag',
  'containerd.io/snapshot/cri.manifest-digest': 'sha256:1',
});

const bare = (diffId: string, target: string): Record<string, string> => ({
  'containerd.io/snapshot.ref': target,
  'containerd.io/snapshot/diff-id': diffId,
});

const pull = (diffId: string, target: string, parent: string) =>
  snapshotter.prepare({
    kind: 'ACTIVE',
    key: `extract-${Math.random()} ${target}`,
    parent,
    labels: labelsOf(diffId, target),
  });

const container = (key: string, parent: string, kind: 'ACTIVE' | 'VIEW' = 'ACTIVE') =>
  snapshotter.prepare({ kind, key, parent, labels: {} });

async function pullAll(): Promise<void> {
  const chain = ['', 'A', 'B', 'C'];
  for (const [i, diffId] of ['a', 'b', 'c'].entries())
    await expect(pull(diffId, chain[i + 1]!, chain[i]!)).rejects.toMatchObject({ status: 'ALREADY_EXISTS' });
}

const numbers = (): string[] => readdirSync(folders.layers).sort();

test('a layer that is mounted lazily is said to be there, and found by what containerd asks next', async () => {
  await pullAll();
  const asked = snapshotter.list(['labels."containerd.io/snapshot.ref"==B,parent==A']);
  expect(asked).toMatchObject([{ name: 'B', parent: 'A', kind: 'COMMITTED' }]);
  expect(mounted.size).toBe(3);
  // The same again, as by another namespace, mounts nothing more.
  await pullAll();
  expect(mounted.size).toBe(3);
});

test('a container has one overlay of its layers, and what it wrote is gone with it', async () => {
  await pullAll();
  const [mount] = await container('c', 'C');
  const lower = ['C', 'B', 'A'].map((name) => folders.layer(snapshotter.stat(name).id));
  expect(mount!.options).toContain(`lowerdir=${lower.join(':')}`);
  const upper = folders.layer(snapshotter.stat('c').id);
  writeFileSync(join(upper, 'file'), 'written');
  expect((await snapshotter.usage('c')).size).toBeGreaterThan(0);
  await snapshotter.remove('c');
  expect(existsSync(upper)).toBe(false);
});

test('a layer that comes twice is in the overlay once: the kernel refuses one that has it twice', async () => {
  image = { layers: ['a', 'b', 'a'].map((diffId) => ({ diffId, origin: origin(diffId) })) };
  for (const [diffId, target, parent] of [
    ['a', 'A', ''],
    ['b', 'B', 'A'],
    ['a', 'C', 'B'],
  ] as const)
    await expect(pull(diffId, target, parent)).rejects.toMatchObject({ status: 'ALREADY_EXISTS' });
  const [mount] = await container('c', 'C');
  const lower = mount!.options.find((option) => option.startsWith('lowerdir='))!;
  expect(lower.split(':')).toHaveLength(2);
});

test('a device is in no overlay, and a data-only layer is behind the others, as their roles say after a restart as well', async () => {
  const [device, data, top] = ['a', 'b', 'c'].map(origin);
  image = {
    layers: [
      { diffId: 'a', origin: { ...device!, layer: null } },
      { diffId: 'b', origin: { ...data!, role: 'data' } },
      { diffId: 'c', origin: top! },
    ],
  };
  await pullAll();
  await database.close();
  await start();
  const [mount] = await container('c', 'C');
  const folderOf = (name: string) => folders.layer(database.get(name)!.id);
  expect(mount!.options).toContain(`lowerdir=${folderOf('C')}::${folderOf('B')}`);
  expect(mount!.options).toContain('metacopy=on');
});

test('what is a device in one image, and a layer with the same ChainID in another, is told apart', async () => {
  const device = { diffId: 'a', origin: { ...origin('a'), layer: null } };
  const [b, c] = ['b', 'c'].map((diffId) => ({ diffId, origin: origin(diffId) }));
  image = { layers: [device, b!, c!] };
  await pullAll();
  image = {
    layers: [
      { diffId: 'a', origin: null },
      { diffId: 'd', origin: null },
    ],
  };
  const other = pull('d', 'D', 'A');
  await expect(other).rejects.toMatchObject({ status: 'FAILED_PRECONDITION' });
  await expect(other).rejects.toThrow('remove that image first');
  await expect(container('x', 'A')).rejects.toThrow('remove that image first');
});

test('a layer of tar gets a folder, and is committed with it', async () => {
  image = { layers: [{ diffId: 'a', origin: null }] };
  const [mount] = await pull('a', 'A', '');
  expect(mount).toMatchObject({ type: 'bind', options: ['rbind', 'rw'] });
  const [key] = snapshotter.list(['kind==active']).map(({ name }) => name);
  writeFileSync(join(mount!.source, 'unpacked'), '');
  await snapshotter.commit(key!, { name: 'A', labels: { x: 'y' }, parent: '' });
  expect(snapshotter.stat('A')).toMatchObject({ kind: 'COMMITTED', labels: { x: 'y' } });
  expect(() => snapshotter.stat(key!)).toThrow('no snapshot');
  const [view] = await container('v', 'A', 'VIEW');
  expect(view).toMatchObject({ type: 'bind', source: mount!.source, options: ['rbind', 'ro'] });
});

test('what has a child, is not there, or is there already is refused', async () => {
  await pullAll();
  await expect(snapshotter.remove('A')).rejects.toMatchObject({ status: 'FAILED_PRECONDITION' });
  await expect(snapshotter.remove('D')).rejects.toMatchObject({ status: 'NOT_FOUND' });
  await expect(container('c', 'D')).rejects.toMatchObject({ status: 'NOT_FOUND' });
  await container('c', 'C');
  await expect(container('c', 'C')).rejects.toMatchObject({ status: 'ALREADY_EXISTS' });
  await expect(container('d', 'c')).rejects.toMatchObject({ status: 'INVALID_ARGUMENT' });
  await expect(snapshotter.mounts('C')).rejects.toMatchObject({ status: 'FAILED_PRECONDITION' });
  await expect(snapshotter.commit('c', { name: 'C', labels: {}, parent: '' })).rejects.toMatchObject({
    status: 'ALREADY_EXISTS',
  });
});

test('labels are changed by their names, or all', async () => {
  await pullAll();
  await snapshotter.update('C', { new: '1', other: '2' }, ['labels.new']);
  expect(snapshotter.stat('C').labels).toMatchObject({ new: '1', 'containerd.io/snapshot.ref': 'C' });
  expect(snapshotter.stat('C').labels).not.toHaveProperty('other');
  await snapshotter.update('C', { only: '1' }, []);
  expect(snapshotter.stat('C').labels).toEqual({ only: '1' });
  await expect(snapshotter.update('C', {}, ['parent'])).rejects.toMatchObject({ status: 'INVALID_ARGUMENT' });
});

test('a layer that can not be mounted fails its pull, and nothing is left of the image', async () => {
  broken.add('b');
  await expect(pull('a', 'A', '')).rejects.toMatchObject({ status: 'ALREADY_EXISTS' });
  await expect(pull('b', 'B', 'A')).rejects.toThrow('b is broken');
  await snapshotter.remove('A');
  expect([mounted.size, numbers()]).toEqual([0, []]);
  // The next pull begins anew.
  broken.clear();
  await pullAll();
});

test('the next server goes on, and removes what no snapshot has', async () => {
  await pullAll();
  await container('c', 'C');
  const before = numbers();
  mkdirSync(folders.layer(1000));
  mkdirSync(folders.work(1001));
  await database.close();
  mounted.clear(); // as after a reboot
  await start();
  await snapshotter.cleanup();
  expect(numbers()).toEqual(before);
  expect(mounted.size).toBe(0);
  await snapshotter.mounts('c');
  expect(mounted.size).toBe(3);
});

test('containerd is asked which image a layer is of when its labels do not say', async () => {
  asked.set('ns A', [{ reference: 'r/i@sha256:1', manifest: 'sha256:1' }]);
  const labels = bare('a', 'A');
  const own = { kind: 'ACTIVE', parent: '', labels } as const;
  await expect(snapshotter.prepare({ ...own, key: 'ns/1/extract' })).rejects.toMatchObject({
    status: 'ALREADY_EXISTS',
  });
  // Of another namespace nothing is known: that layer is unpacked.
  const other = { ...own, labels: bare('b', 'B'), key: 'other/2/extract' };
  expect(await snapshotter.prepare(other)).toMatchObject([{ type: 'bind' }]);
});
