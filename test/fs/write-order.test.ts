import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { open, rename, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LayerCache } from '../../src/convert/layer-cache';
import { digestOf } from '../../src/format/digest';
import { writeAtomically } from '../../src/fs/atomic-file';
import { openUnnamed } from '../../src/fs/unnamed-file';
import { native } from '../../src/native/binding';
import { LayoutDestination } from '../../src/store/layout/layout';
import { refusal } from '../support/refusal';

// What is to be found after a power cut must be on the disk before a name leads to it, and then the name.

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return { ...real, rename: vi.fn(real.rename) };
});
vi.mock('../../src/fs/unnamed-file', async (original) => {
  const real = await original<typeof import('../../src/fs/unnamed-file')>();
  return { openUnnamed: vi.fn(real.openUnnamed) };
});

let folder: string;
let prototype: FileHandle;
let events: { what: 'sync' | 'name'; inode: number; path?: string }[];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'write-order-'));
  events = [];
  const handle = await open(folder);
  prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const sync = Reflect.get<FileHandle, 'sync'>(prototype, 'sync');
  vi.spyOn(prototype, 'sync').mockImplementation(async function (this: FileHandle) {
    await sync.call(this);
    events.push({ what: 'sync', inode: (await this.stat()).ino });
  });
  const real = await vi.importActual<typeof import('node:fs/promises')>('node:fs/promises');
  vi.mocked(rename).mockImplementation(async (from, to) => {
    const inode = statSync(from).ino;
    await real.rename(from, to);
    events.push({ what: 'name', inode, path: to as string });
  });
  const { writeFile, syncFolder } = native.files;
  vi.spyOn(native.files, 'writeFile').mockImplementation(async (path, bytes) => {
    await writeFile(path, bytes);
    events.push({ what: 'sync', inode: statSync(path).ino });
  });
  vi.spyOn(native.files, 'syncFolder').mockImplementation(async (path) => {
    await syncFolder(path);
    events.push({ what: 'sync', inode: statSync(path).ino });
  });
  const linkOpenFile = native.sys.linkOpenFile.bind(native.sys);
  vi.spyOn(native.sys, 'linkOpenFile').mockImplementation((fd, path) => {
    linkOpenFile(fd, path);
    events.push({ what: 'name', inode: statSync(path).ino, path });
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.mocked(openUnnamed).mockReset();
  rmSync(folder, { recursive: true });
});

const at = (path: string): string => join(folder, path);
const inodeOf = (path: string): number => statSync(at(path)).ino;
const syncs = (inode: number): number[] =>
  events.flatMap((event, i) => (event.what === 'sync' && event.inode === inode ? [i] : []));
/** When a file got its name. */
const named = (path: string): number =>
  events.findLastIndex(
    (event) =>
      event.what === 'name' && event.inode === inodeOf(path) && basename(event.path!) === basename(path),
  );

/** What is at `path` was on the disk before it got its name, and the name was afterwards, in `parent`. */
function expectSafe(path: string, parent = join(path, '..')): void {
  const when = named(path);
  expect(when, `${path} got its name`).toBeGreaterThanOrEqual(0);
  expect(syncs(inodeOf(path)).at(0), `${path} was synced before`).toBeLessThan(when);
  expect(syncs(inodeOf(parent)).at(-1), `${parent} was synced after it`).toBeGreaterThan(when);
}

describe('a file is on the disk before it has its name, and the name after that', () => {
  it.each([
    ['unnamed, and nothing has the name', true, false],
    ['unnamed, in the place of another', true, true],
    ['where there are no unnamed files', false, true],
  ])('%s', async (_, unnamed, replaces) => {
    if (!unnamed) vi.mocked(openUnnamed).mockResolvedValue(null);
    if (replaces) writeFileSync(at('file'), 'old');
    await writeAtomically(at('file'), ({ fd }) => Promise.resolve(void writeSync(fd, 'new')));
    expect(readFileSync(at('file'), 'utf8')).toBe('new');
    expectSafe('file', '.');
  });

  it('an entry of the cache of layers: its files, then its folder', async () => {
    const cache = await LayerCache.open(at('cache'));
    writeFileSync(at('blob'), 'blob');
    const blob = await open(at('blob'));
    const descriptor = { mediaType: 'x', digest: digestOf(Buffer.from('blob')), size: 4 };
    const layer = { descriptor, diffId: descriptor.digest, index: null, uncompressedSize: 4 };
    await cache.add('key', { fd: blob.fd, layer, indexPayload: Buffer.from('index') });
    await blob.close();
    await cache.close();
    const entry = join(
      'cache',
      readdirSync(at('cache'), { recursive: true, encoding: 'utf8' }).find(
        (name) => basename(name) === 'blob',
      )!,
      '..',
    );
    expectSafe(entry);
    for (const name of ['blob', 'index', 'layer.json'])
      expect(syncs(inodeOf(join(entry, name))).at(0), name).toBeLessThan(named(entry));
  });

  it('an image in a layout: its blobs, their folder, index.json, and the marker of a new layout last', async () => {
    const layout = await LayoutDestination.open(at('layout'));
    const config = Buffer.from('{}');
    const descriptor = (mediaType: string, bytes: Buffer) => ({
      mediaType,
      digest: digestOf(bytes),
      size: bytes.length,
    });
    const part = descriptor('application/vnd.oci.image.config.v1+json', config);
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config: part, layers: [] }));
    const image = descriptor(mediaType, manifest);
    await layout.writeBlob(part, config);
    await layout.writeBlob(image, manifest);
    await layout.setReference('new', image);
    await layout.close();
    const blobs = [part, image].map(({ digest }) => `layout/blobs/sha256/${digest.slice(7)}`);
    for (const path of [...blobs, 'layout/index.json', 'layout/oci-layout']) expectSafe(path);
    expect(syncs(inodeOf('layout/blobs/sha256')).at(-1)).toBeLessThan(named('layout/index.json'));
    expect(named('layout/index.json')).toBeLessThan(named('layout/oci-layout'));
  });

  it('a layer in a layout: who commits it does not wait for the disk, its name does', async () => {
    const layout = await LayoutDestination.open(at('layout'));
    const layer = await layout.createBlob();
    writeSync(layer.fd, 'layer');
    const descriptor = { mediaType: 'x', digest: digestOf(Buffer.from('layer')), size: 5 };
    const path = `layout/blobs/sha256/${descriptor.digest.slice(7)}`;
    const sync = vi.mocked(Reflect.get<FileHandle, 'sync'>(prototype, 'sync'));
    let onDisk = (): void => undefined;
    const disk = new Promise<void>((resolve) => (onDisk = resolve));
    sync.mockImplementationOnce(async function (this: FileHandle) {
      await disk;
      events.push({ what: 'sync', inode: (await this.stat()).ino });
    });
    await layer.commit(descriptor);
    const published = layout.setReference('new', descriptor);
    await setTimeout(50);
    expect(existsSync(at(path))).toBe(false);
    onDisk();
    await published;
    await layout.close();
    expectSafe(path);
  });

  it('a layer that can not be brought to the disk gets no name, and the image neither', async () => {
    const layout = await LayoutDestination.open(at('layout'));
    const layer = await layout.createBlob();
    writeSync(layer.fd, 'layer');
    const descriptor = { mediaType: 'x', digest: digestOf(Buffer.from('layer')), size: 5 };
    const full = Object.assign(new Error('no space'), { code: 'ENOSPC', errno: -28 });
    vi.mocked(Reflect.get<FileHandle, 'sync'>(prototype, 'sync')).mockRejectedValueOnce(full);
    await layer.commit(descriptor);
    await expect(layout.setReference('new', descriptor)).rejects.toThrow(refusal('NO_SPACE'));
    await layout.abort();
    expect(existsSync(at('layout'))).toBe(false);
  });
});
