import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi, type MockInstance } from 'vitest';
import { encodeLayer } from '../../src';
import { failure } from '../../src/errors';
import { LazyFolder } from '../../src/lazy/lazy-folder';
import { LayerSources } from '../../src/lazy/layer-sources';
import { LazyConnection, type LazyLayerRequest } from '../../src/lazy/messages';
import { LazyServer } from '../../src/lazy/server';
import { connectTo } from '../../src/lazy/socket';
import { native } from '../../src/native/binding';
import type { NativeFuseServer } from '../../src/native/fuse-server';
import { openFileSource } from '../../src/source/file';
import { tarBytes } from '../support/tar-bytes';

let folder: string;
let request: LazyLayerRequest;
let server: LazyServer;
let connection: LazyConnection;
let opening: MockInstance<LayerSources['open']>;
/** How often the layer was opened, and how often its beginning was asked for. */
let [opened, begun] = [0, 0];
/** How often its blob was closed. */
let closed = 0;
/** Lets the beginning of the layer come. */
let giveBeginning: () => void;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lazy-server-'));
  opened = begun = closed = 0;
  await writeFile(
    join(folder, 'layer.tar'),
    tarBytes([{ name: 'noise', content: randomBytes(1 << 19).toString('hex') }]),
  );
  const descriptor = await encodeLayer(join(folder, 'layer.tar'), join(folder, 'blob'));
  const access = { source: 'blob', mirrors: [], access: {}, allowUnverified: false };
  const { diffId } = descriptor;
  request = { key: 'a'.repeat(64), diffId, withTree: false, descriptor, index: null, ...access };
  const beginning = new Promise<void>((resolve) => (giveBeginning = resolve));
  opening = vi.spyOn(LayerSources.prototype, 'open').mockImplementation(async () => {
    opened++;
    const file = await openFileSource(join(folder, 'blob'));
    const read = async (offset: number, length: number): Promise<Buffer> => {
      if (offset === 0 && ++begun === 1) await beginning;
      return file.read(offset, length);
    };
    const close = (): Promise<void> => {
      closed++;
      return file.close();
    };
    return [{ name: 'blob', place: 'here', size: file.size, read, close }];
  });
  const done = (): undefined => undefined;
  const fuse = { start: done, stop: done, add: done, remove: done, stored: done, counts: () => null };
  vi.spyOn(native, 'FuseServer').mockImplementation(function () {
    return fuse as unknown as NativeFuseServer;
  });
  const lazyFolder = await LazyFolder.open(join(folder, 'state'));
  server = new LazyServer(lazyFolder, -1, {
    ioTimeout: 60_000,
    backgroundRate: 0,
    cacheLimits: {},
    onWarning: () => undefined,
  });
  await server.start(false);
  connection = new LazyConnection((await connectTo(lazyFolder.socket))!);
});
afterEach(async () => {
  connection.close();
  await server.stop();
  vi.restoreAllMocks();
  await rm(folder, { recursive: true, force: true });
});

test('two mounts that ask for a layer at once share it, and both wait for its metadata', async () => {
  const answers = [connection.call('add', request), connection.call('add', request)];
  let isAnswered = false;
  for (const answer of answers) void answer.then(() => (isAnswered = true));
  while (begun === 0) await connection.call('status', {});
  const third = connection.call('add', request);
  void third.then(() => (isAnswered = true));
  await connection.call('status', {}); // asked and answered after it
  expect([opened, isAnswered]).toEqual([1, false]);
  giveBeginning();
  const [first, ...others] = await Promise.all([...answers, third]);
  for (const other of others) expect(other).toEqual({ ...first, isFromDisk: true });
  expect(opened).toBe(1);
});

test('a mount that waits for another, which fails, tries itself', async () => {
  opening.mockRejectedValueOnce(failure('FAILED', 'blob', 'refused'));
  giveBeginning();
  const refused = connection.call('add', request);
  const answer = connection.call('add', request);
  await expect(refused).rejects.toMatchObject({ code: 'FAILED', why: 'refused' });
  expect(await answer).toMatchObject({ isFromDisk: false });
});

test('a layer that is released twice at once is closed once, and can be had again', async () => {
  giveBeginning();
  await connection.call('add', request);
  const keys = [request.key];
  await Promise.all([connection.call('release', { keys }), connection.call('release', { keys })]);
  expect(closed).toBe(1);
  await connection.call('add', request);
  expect([opened, closed]).toEqual([2, 1]);
});

test('a layer goes with the last of its holders, which are on disk', async () => {
  giveBeginning();
  await connection.call('add', request);
  await connection.call('add', { ...request, holder: 'another' });
  const list = join(folder, 'state', 'lazy', 'layers.json');
  expect(JSON.parse(await readFile(list, 'utf8'))).toMatchObject({
    layers: [{ key: request.key, holders: ['mounts', 'another'] }],
  });
  const keys = [request.key];
  await connection.call('release', { keys });
  expect((await connection.call('status', {})).layers).toMatchObject([{ holders: ['another'] }]);
  expect(closed).toBe(0);
  await connection.call('release', { keys, holder: 'another' });
  expect((await connection.call('status', {})).layers).toEqual([]);
  expect([opened, closed]).toEqual([1, 1]);
});

test('a call that a server has not answered when it ends is the next server’s', async () => {
  connection.close();
  let hasNext = false;
  const path = join(folder, 'state', 'lazy', 'socket');
  connection = new LazyConnection((await connectTo(path))!, async () => {
    hasNext = true;
    return Promise.resolve(null);
  });
  const answer = connection.call('add', request);
  while (begun === 0) await connection.call('status', {});
  const stopping = server.stop();
  await expect(answer).rejects.toMatchObject({ code: 'MACHINE', why: 'it has ended' });
  expect(hasNext).toBe(true);
  giveBeginning();
  await stopping;
});
