import { ClassicLevel } from 'classic-level';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SnapshotDatabase } from '../../../src/containerd/snapshotter/database';
import type { Snapshot } from '../../../src/containerd/snapshotter/snapshot';

let folder: string;
beforeEach(() => (folder = join(mkdtempSync(join(tmpdir(), 'snapshots-')), 'database')));
afterEach(() => {
  rmSync(join(folder, '..'), { recursive: true });
});

const snapshot = (name: string, id: number): Snapshot => ({
  name,
  id,
  parent: '',
  kind: 'ACTIVE',
  labels: { a: 'b' },
  createdAt: 1,
  updatedAt: 2,
  origin: null,
  usage: null,
});

test('what was written is there for the next server, and numbers are not given twice', async () => {
  const first = await SnapshotDatabase.open(folder);
  const id = first.newId();
  await first.write({ put: snapshot('key', id) });
  await first.write({ remove: 'key', put: { ...snapshot('name', id), kind: 'COMMITTED' } });
  await first.write({ put: snapshot('gone', first.newId()) });
  await first.write({ remove: 'gone' });
  await first.close();
  const second = await SnapshotDatabase.open(folder);
  expect([...second.all()]).toEqual([{ ...snapshot('name', id), kind: 'COMMITTED' }]);
  expect(second.newId()).toBe(id + 2);
  await second.close();
});

test('what was written is there after the process was killed', async () => {
  const script = `
    const { ClassicLevel } = require('classic-level');
    (async () => {
      const level = new ClassicLevel(${JSON.stringify(folder)});
      await level.put('version', '1');
      await level.batch([{ type: 'put', key: 'snapshot:x', value: ${JSON.stringify(JSON.stringify(snapshot('x', 7)))} }], { sync: true });
      process.kill(process.pid, 'SIGKILL');
    })();`;
  execFileSync('mkdir', ['-p', folder]);
  expect(spawnSync(process.execPath, ['-e', script]).signal).toBe('SIGKILL');
  const database = await SnapshotDatabase.open(folder);
  expect(database.get('x')).toEqual(snapshot('x', 7));
  expect(database.newId()).toBe(8);
  await database.close();
  // A program that does not know of roles must not read what has some.
  const level = new ClassicLevel(folder);
  expect(await level.get('version')).toBe('2');
  await level.close();
});

test('another server that has it open is told of', async () => {
  const database = await SnapshotDatabase.open(folder);
  await expect(SnapshotDatabase.open(folder)).rejects.toMatchObject({ code: 'FAILED' });
  await database.close();
});

test('what a newer release wrote is refused', async () => {
  execFileSync('mkdir', ['-p', folder]);
  const level = new ClassicLevel(folder);
  await level.put('version', '3');
  await level.close();
  await expect(SnapshotDatabase.open(folder)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});
