import { rmSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { noise, writeLayout } from '../e2e/sample';
import { at } from '../e2e/workspace';
import { tarBytes } from '../support/tar-bytes';
import { processesOf } from './support/lazily';
import { titleOf, whyNoMounts } from './support/machine';
import { library, mountByLoop, state, useMounts, walk } from './support/mounting';

// The claim: the kernel mounts what `convert --device-tar` makes, and sees the tree that the tars have.

const { convertImage, mountImage, unmountImage, extractImage } = library;
const reason = whyNoMounts();
const text = (length: number, seed: string): string => noise(length, seed).toString('latin1');

useMounts();
afterEach(() => {
  for (const program of ['keeper-main', 'server-main'])
    for (const pid of processesOf(program)) process.kill(pid, 'SIGKILL');
});

const lower = tarBytes([
  { name: 'usr/', type: '5', mode: 0o755 },
  { name: 'usr/large', content: text(2_000_001, 'large') },
  { name: 'usr/hard', type: '1', target: 'usr/large' },
  { name: 'usr/link', type: '2', target: 'l'.repeat(600) },
  { name: 'odd \x01\n', content: 'odd', xattrs: { 'user.a': 'four' } },
  { name: 'empty' },
  {
    name: 'holes',
    content: text(4096 + 512, 'holes'),
    pax: {
      'GNU.sparse.size': '1000512',
      'GNU.sparse.numblocks': '2',
      'GNU.sparse.map': '4096,4096,999936,512',
    },
  },
  { name: 'gone', content: 'gone' },
  ...Array.from({ length: 300 }, (_, i) => ({ name: `many/${i}`, content: text(i * 11, `m${i}`) })),
]);
const upper = tarBytes([{ name: '.wh.gone' }, { name: 'usr/new', content: 'new' }]);

/** All but what overlayfs sees its own way. */
function treeAt(dir: string) {
  return [...walk(dir).values()].map((entry) => ({ ...entry, inode: null, nlink: null, mtime: null }));
}

describe.skipIf(reason !== null)(titleOf('images that point into tars', reason), () => {
  it.each([
    ['at once', {}, {}, false],
    ['lazily', { lazy: true }, {}, false],
    ['by loop devices', null, {}, false],
    ['with dm-verity', {}, { dmVerity: true }, false],
    ['at once, of tar.gz', {}, {}, true],
    ['lazily, of tar.gz', { lazy: true }, { chunkSize: '64KiB' }, true],
    ['by loop devices, of tar.zst', null, {}, 'zstd'],
    ['with dm-verity, of tar.gz', {}, { dmVerity: true }, true],
    ['lazily, of tar.gz that is stored as it is', { lazy: true }, { noCompress: true }, true],
  ] as const)('are mounted %s', async (_, mounting, converting, compress) => {
    await writeLayout(at('source'), [lower, upper], { compress });
    const to = `oci:${at('to')}:sample`;
    const spec = { profile: 'erofs-image-spec', deviceTar: true, ...converting } as const;
    await convertImage(`oci:${at('source')}:sample`, to, spec);
    await convertImage(`oci:${at('source')}:sample`, `oci:${at('plain')}:sample`);
    await extractImage(`oci:${at('plain')}:sample`, at('tree'));
    // Nothing but its digest vouches for a tar: it is fetched whole.
    if (mounting === null) await mountByLoop(to, at('target'));
    else await mountImage(to, at('target'), { state, ...mounting });
    expect(treeAt(at('target'))).toEqual(treeAt(at('tree')));
    await unmountImage(at('target'), { state });
    rmSync(at('tree'), { recursive: true });
  });
});
