import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { containerdConfig } from '../../../src/cli/containerd-config';
import { configChecks, versionCheck } from '../../../src/mount/doctor/containerd';
import { Machine } from '../../../src/mount/doctor/machine';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'doctor-'));
});
afterEach(() => rm(root, { recursive: true }));

async function put(path: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), '');
}

const sockets = { snapshotter: '/run/s.sock', differ: '/run/d.sock', erofsCache: '/srv/cache' };
const whole = containerdConfig(sockets, 'amd64').join('\n');

async function statuses(text: string): Promise<Record<string, string>> {
  const checks = await configChecks(await Machine.open(root), text);
  return Object.fromEntries(checks.map(({ name, status, detail }) => [name, `${status}: ${detail}`]));
}

test('what --print-config containerd prints is all there', async () => {
  for (const path of Object.values(sockets)) await put(path);
  expect(await statuses(whole)).toEqual({
    'containerd-seekable': 'ok: /run/s.sock',
    'containerd-seekable-diff': 'ok: /run/d.sock',
    'containerd-cache': 'ok: /srv/cache',
  });
});

test('sockets and folders that are not there are named', async () => {
  const found = await statuses(whole);
  expect(found['containerd-seekable']).toBe('missing: nothing is at /run/s.sock');
  expect(found['containerd-seekable-diff']).toBe('missing: nothing is at /run/d.sock');
  expect(found['containerd-cache']).toBe('missing: there is no folder /srv/cache');
});

test.each([
  [/enable_remote_snapshot_annotations = 'true'/, '', /does not tell it which image/],
  [/snapshotter = 'seekable'/g, "snapshotter = 'other'", /no unpack_config/],
  [/linux\(\+erofs\)/g, 'linux', /not for EROFS/],
  [/layer_types = .*/g, '', /without layer_types/],
] as const)('without %s', async (pattern, other, detail) => {
  for (const path of Object.values(sockets)) await put(path);
  expect((await statuses(whole.replace(pattern, other)))['containerd-seekable']).toMatch(detail);
});

test.each(['version = 3', 'version = '])(
  'a configuration that is none of ours, or none at all: %s',
  async (text) => {
    expect((await statuses(text))['containerd-config']).toMatch(/^missing: /);
  },
);

test.each([
  ['2.4.2', 'ok'],
  ['3.0.0', 'ok'],
  ['2.3.9', 'missing'],
  ['1.7.27', 'missing'],
  [null, 'unknown'],
])('version %s is %s', (version, status) => {
  expect(versionCheck(version).status).toBe(status);
});
