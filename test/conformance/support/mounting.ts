import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import type { MountOptions, mountWith } from '../../../src/mount/mount';
import type { MountResult } from '../../../src/index';
import { documentOf } from '../../e2e/run-cli';
import { at, folder, useFolders } from '../../e2e/workspace';
import { tarBytes, type TarEntryBytes } from '../../support/tar-bytes';
import { LayoutBuilder } from './image';
import { loopOnly } from '../../support/watched-steps.mjs';
import { run } from './machine';

/** The folder with the files of these tests. */
export const support = __dirname;
export const root = join(__dirname, '../../..');
const require = createRequire(join(root, 'package.json'));
/** The package as its users get it. */
export const library = require(root) as typeof import('../../../src/index');

/** The state folder of the running test. */
export let state: string;
export const options = (more: MountOptions = {}): MountOptions => ({ state, ...more });

/** Gives each test a folder and a state folder in it, and unmounts there what a failed test left. */
export function useMounts(): void {
  useFolders();
  beforeEach(() => {
    state = at('state');
  });
  afterEach(() => {
    const targets = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[4] ?? '')
      .filter((target) => target.startsWith(folder));
    for (const target of targets.reverse()) spawnSync('umount', ['-l', target]);
  });
}

/** mountImage(), watched or by other means. */
export function mountBy(
  parts: Parameters<typeof mountWith>[3],
  reference: string,
  target: string,
  more: MountOptions = {},
): Promise<MountResult> {
  const built = require('./dist/mount/mount.js') as { mountWith: typeof mountWith };
  return built.mountWith(reference, target, options(more), parts);
}

/** mountImage() by loop devices, as on kernels before 6.12. */
export function mountByLoop(
  reference: string,
  target: string,
  more: MountOptions = {},
): Promise<MountResult> {
  return mountBy(loopOnly, reference, target, more);
}

/** Everything of a test that the kernel still has: mounts and loop devices that name its folder. */
export function leftovers(): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const loops = readdirSync('/sys/block').flatMap((name) => {
    const file = `/sys/block/${name}/loop/backing_file`;
    return existsSync(file) ? [`${name} ${readFileSync(file, 'utf8').trim()}`] : [];
  });
  return [...mounts, ...loops].filter((line) => line.includes(folder));
}

/** All files of the state folder but those of decoded layers, which are kept. */
export function stateFiles(): string[] {
  if (!existsSync(state)) return [];
  const entries = readdirSync(state, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => !entry.isDirectory());
  return files
    .filter(({ name, parentPath }) => !isKept.test(name) || !existsSync(join(parentPath, 'image')))
    .map(({ name, parentPath }) => join(parentPath, name));
}

const isKept = /^(image|image\.dmverity|vouched-[0-9a-f]{64}\.json)$/;

export async function expectNothingLeft(): Promise<void> {
  expect(leftovers()).toEqual([]);
  expect(stateFiles()).toEqual([]);
  expect(await library.listMounts({ state })).toEqual([]);
}

/** Every inode of a tree, by its path. */
export function walk(tree: string): Map<string, Record<string, unknown>> {
  const lines = run('python3', [join(support, 'walk.py'), tree])
    .toString('latin1')
    .trimEnd()
    .split('\n');
  const entries = lines.map((line) => JSON.parse(line) as { path: string });
  return new Map(entries.map((entry) => [entry.path, entry]));
}

export async function writeImage(name: string, layers: TarEntryBytes[][]): Promise<string> {
  const builder = new LayoutBuilder(at(`${name}.tars`));
  builder.name(builder.image(layers.map((entries) => builder.tarLayer(tarBytes(entries)))));
  const reference = `oci:${at(name)}:image`;
  await documentOf(['convert', `oci:${at(`${name}.tars`)}:image`, reference, '--dm-verity']);
  return reference;
}

export const dir = (name: string, more: Partial<TarEntryBytes> = {}): TarEntryBytes => ({
  name: `${name}/`,
  type: '5',
  mode: 0o755,
  ...more,
});

/** Three layers with all that overlayfs merges: whiteouts, opaque folders, replaced types, attributes of upper folders. */
export const threeLayers: TarEntryBytes[][] = [
  [
    ...[
      dir('.', { mode: 0o711 }),
      dir('etc'),
      { name: 'etc/gone', content: '1' },
      { name: 'etc/stays', content: '2' },
    ],
    ...[
      dir('opaque'),
      { name: 'opaque/hidden', content: '3' },
      dir('opaque/deep'),
      { name: 'opaque/deep/x' },
    ],
    ...[{ name: 'turns', content: 'file' }, dir('becomes'), { name: 'becomes/inside', content: '4' }],
    ...[
      { name: 'link', type: '2', target: 'etc/stays' },
      dir('merged', { mode: 0o700 }),
      { name: 'merged/low' },
    ],
    { name: 'tool', mode: 0o4755, uid: 7, gid: 8, content: 'setuid', xattrs: { 'user.k': 'v' } },
  ],
  [
    ...[dir('.'), dir('etc'), { name: 'etc/.wh.gone' }, dir('opaque'), { name: 'opaque/.wh..wh..opq' }],
    ...[{ name: 'opaque/fresh', content: '5' }, { name: '.wh.becomes' }, { name: '.wh.turns' }],
    ...[dir('merged', { mode: 0o755, uid: 5 }), { name: 'merged/middle', content: '6' }],
  ],
  [
    ...[
      dir('.', { mode: 0o751 }),
      { name: 'becomes', content: 'a file' },
      dir('turns'),
      { name: 'turns/inside', content: '7' },
    ],
    ...[
      dir('merged', { mode: 0o1777 }),
      { name: 'merged/top', content: '8' },
      dir('etc'),
      { name: 'etc/gone', content: 'back' },
    ],
  ],
];
