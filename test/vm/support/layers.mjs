// The layers that are mounted in the VM, and the tree that they make: written down by hand, so that nothing of the project
// is asked what it should be.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';

/** Bytes that no compressor makes smaller, the same for the same seed. */
export function noise(size, seed) {
  const blocks = [];
  for (let i = 0; i * 64 < size; i++) blocks.push(createHash('sha512').update(`${seed} ${i}`).digest());
  return Buffer.concat(blocks).subarray(0, size);
}

const file = (name, content, mode = 0o644) => ({ name, content: Buffer.from(content), mode });
const folder = (name) => ({ name: `${name}/`, type: 'directory', mode: 0o755 });
const link = (name, linkname) => ({ name, type: 'symlink', linkname });

/** A layer of its own: files of several blocks, of one, of none. */
export const single = [
  folder('data'),
  ...[1, 2, 3, 4, 5, 6, 7, 8].map((i) => file(`data/file${i}`, noise(40_000 + i * 1111, `file${i}`))),
  file('data/empty', ''),
  file('data/line', 'one line\n'),
  link('data/link', 'line'),
];

/** More than a lazy mount fetches before anybody reads. */
export const large = [...single, file('data/large', noise(3_000_000, 'large'))];

/** No more than fits one block. */
export const tiny = [file('a', 'tiny\n')];

/** An image of three layers: busybox, then whiteouts and a replaced file, then an opaque folder. */
export function imageLayers(busybox) {
  return [
    [
      folder('bin'),
      file('bin/busybox', readFileSync(busybox), 0o755),
      link('bin/sh', 'busybox'),
      folder('etc'),
      file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n'),
      file('etc/group', 'root:x:0:\napp:x:1001:\nextra:x:2000:app\n'),
      folder('data'),
      ...['kept', 'changed', 'deleted'].map((name) => file(`data/${name}`, noise(9000, name))),
      folder('data/gone'),
      file('data/gone/inner', 'must not be seen\n'),
      folder('data/opaque'),
      file('data/opaque/old', 'must not be seen\n'),
    ],
    [
      file('data/changed', 'new\n'),
      file('data/.wh.deleted', ''),
      file('data/.wh.gone', ''),
      file('data/added', noise(100_000, 'added')),
    ],
    [folder('data/opaque'), file('data/opaque/.wh..wh..opq', ''), file('data/opaque/new', 'new\n')],
  ];
}

/** A layer as a tar. */
export function makeTar(entries) {
  const archive = pack();
  for (const { content, ...header } of entries) {
    archive.entry({ mtime: new Date(1_700_000_000_000), uid: 0, gid: 0, ...header }, content ?? '');
  }
  archive.finalize();
  return buffer(archive);
}

/** What is seen of layers: `path → ['dir'] | ['symlink', target] | ['file', mode, SHA-256]`. */
export function expectedTree(layers) {
  const tree = new Map();
  for (const entries of layers) {
    const lower = new Set(tree.keys());
    for (const entry of entries) hide(tree, lower, entry.name);
    for (const entry of entries) add(tree, entry);
  }
  return Object.fromEntries([...tree].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What a marker hides: only what lower layers have. */
function hide(tree, lower, name) {
  const [, parent, marked] = /^(.*\/)?\.wh\.(.*)$/.exec(name) ?? [];
  if (marked === undefined) return;
  const hidden = marked === '.wh..opq' ? parent : `${parent ?? ''}${marked}`;
  for (const path of lower) {
    if (path === hidden || path.startsWith(hidden.endsWith('/') ? hidden : `${hidden}/`)) tree.delete(path);
  }
}

function add(tree, { name, type, linkname, mode, content }) {
  if (/(^|\/)\.wh\./.test(name)) return;
  if (type === 'directory') tree.set(name.slice(0, -1), ['dir']);
  else if (type === 'symlink') tree.set(name, ['symlink', linkname]);
  else tree.set(name, ['file', mode, createHash('sha256').update(content).digest('hex')]);
}
