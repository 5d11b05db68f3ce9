import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { at } from '../e2e/workspace';
import { writeErofs, type ErofsEntry } from '../support/erofs-writer';
import { digestOf, LayoutBuilder } from './support/image';
import { processesOf } from './support/lazily';
import { titleOf, whyNoMounts } from './support/machine';
import { library, mountByLoop, root, state, useMounts, walk } from './support/mounting';

// The claim: images with device and data-only layers are mounted lazily and by loop devices as well, and the kernel follows what their
// files say of redirects as the merged view does.

const { mountImage, unmountImage, extractImage } = library;
const vector = (name: string): string => `oci:${join(root, 'vectors/layout')}:${name}`;
const anyLayer = { allowUnverified: true };
const reason = whyNoMounts();

useMounts();
afterEach(() => {
  for (const program of ['keeper-main', 'server-main'])
    for (const pid of processesOf(program)) process.kill(pid, 'SIGKILL');
});

/** All but what overlayfs and extracting see their own way: numbers of inodes, link counts of what is merged. */
function treeAt(dir: string) {
  return [...walk(dir).values()].map((entry) => ({ ...entry, inode: null, nlink: null, mtime: null }));
}

async function expectTree(reference: string): Promise<void> {
  await extractImage(reference, at('tree'), anyLayer);
  expect(treeAt(at('target'))).toEqual(treeAt(at('tree')));
  rmSync(at('tree'), { recursive: true });
  await unmountImage(at('target'), { state });
}

describe.skipIf(reason !== null)(titleOf('composite images', reason), () => {
  const names = ['device-zstd-index', 'device-tar', 'device-twice', 'data-index', 'data-on-device'];

  it.each(names)('%s is mounted lazily, its indexed layers by the lazy server', async (name) => {
    const { layers } = await mountImage(vector(name), at('target'), { ...anyLayer, state, lazy: true });
    const served = layers.filter(({ device }) => device.includes('/lazy/layers/'));
    expect(served.length > 0).toBe(name.endsWith('index'));
    await expectTree(vector(name));
  });

  it.each(names)('%s is mounted by loop devices', async (name) => {
    await mountByLoop(vector(name), at('target'), anyLayer);
    await expectTree(vector(name));
  });

  it('redirects are followed as the kernel follows them', async () => {
    const metadata = (path: string, redirect: string): ErofsEntry => ({
      path,
      size: 4,
      xattrs: { 'trusted.overlay.metacopy': '', 'trusted.overlay.redirect': redirect },
    });
    const moved = (path: string, redirect: string): ErofsEntry => ({
      path,
      type: 'dir',
      xattrs: { 'trusted.overlay.redirect': redirect },
    });
    const layers: [entries: ErofsEntry[], role?: string][] = [
      [
        [
          { path: 'old/a', content: 'a' },
          { path: 'old/deep/b', content: 'b' },
          { path: 'x/y/c', content: 'c' },
        ],
        'overlay-lower',
      ],
      [
        [
          { path: 'store/1', content: 'one\n' },
          { path: 'store/2', content: 'two\n' },
        ],
        'overlay-data',
      ],
      [
        [
          moved('new', 'old'),
          { path: 'new/more', content: 'm' },
          { path: 'old', type: 'char', mode: 0 },
          { path: 'x/y', type: 'char', mode: 0 },
          moved('far', '/x/y'),
          metadata('far/file', '/store/1'),
          metadata('two', '/store/2'),
        ],
      ],
    ];
    const builder = new LayoutBuilder(at('redirects'));
    const stored = layers.map(([entries, role]) => {
      const blob = writeErofs(entries);
      const annotations = role === undefined ? {} : { 'org.erofs.role': role };
      return {
        descriptor: { ...builder.put('application/vnd.erofs', blob), annotations },
        diffId: digestOf(blob),
      };
    });
    builder.name(builder.image(stored, { config: { 'os.features': ['erofs'] } }));
    const reference = `oci:${at('redirects')}:image`;
    await mountImage(reference, at('target'), { state });
    const paths = [...walk(at('target')).keys()];
    expect(paths).toEqual(
      expect.arrayContaining(['/new/a', '/new/deep/b', '/new/more', '/far/c', '/far/file']),
    );
    await expectTree(reference);
  });
});
