// Makes, on the host, all that the VM needs in one folder, which becomes its disk: what is quick here takes minutes there.
//   node prepare.mjs FOLDER BUSYBOX
// package/: this package with what it depends on (many small files of the host's are slow to read in the guest).
// layers.json, image.json: what is mounted and what must be seen.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { installContainerd, missingForContainerd } from '../../e2e/support/containerd-daemon.mjs';
import { expectedTree, imageLayers, large, makeTar, single, tiny } from './layers.mjs';
import { writeLayout } from './layout.mjs';
import { buildPayload, checkVectors } from './merkle.mjs';

const root = resolve(import.meta.dirname, '..', '..', '..');
const require = createRequire(import.meta.url);
const { buildErofs, convertImage, decodeBlob, encodeLayer } = require(join(root, 'dist'));
const [folder, busybox] = process.argv.slice(2);
const at = (name) => join(folder, name);

copyPackage();
copyContainerd();
await writeImage();
await writeLayers();

function copyPackage() {
  const target = at('package');
  const copy = (path) => cpSync(join(root, path), join(target, path), { recursive: true, dereference: true });
  const tests = ['test/vm', 'test/e2e/support', 'test/support/watched-steps.mjs'];
  for (const path of ['package.json', 'dist', 'build/Release/seekable_erofs.node', ...tests]) copy(path);
  const needed = Object.keys(packageJson(root).dependencies);
  for (const name of needed) {
    const { dependencies = {} } = packageJson(join(root, 'node_modules', name));
    for (const dependency of Object.keys(dependencies))
      if (!needed.includes(dependency)) needed.push(dependency);
    copy(join('node_modules', name));
  }
}

/** containerd's programs, where it can be had. */
function copyContainerd() {
  const reason = missingForContainerd();
  if (reason === null) cpSync(installContainerd(), at('containerd-programs'), { recursive: true });
  else console.log(`SKIP: stock containerd in the VM: ${reason}`);
}

function packageJson(place) {
  return JSON.parse(readFileSync(join(place, 'package.json'), 'utf8'));
}

async function writeImage() {
  const layers = imageLayers(busybox);
  writeLayout(at('source'), await Promise.all(layers.map(makeTar)));
  await convertImage(`oci:${at('source')}`, `oci:${at('image')}`, { dmVerity: true });
  // Its trees are such as containerd opens.
  const spec = { profile: 'erofs-image-spec', dmVerity: true };
  await convertImage(`oci:${at('source')}`, `oci:${at('spec-image')}`, { ...spec, chunkSize: 65_536 });
  writeLayout(at('lazy-source'), [await makeTar(large)]);
  const chunks = { dmVerity: true, chunkSize: 65_536 };
  await convertImage(`oci:${at('lazy-source')}`, `oci:${at('lazy-image')}`, chunks);
  await convertImage(`oci:${at('lazy-source')}`, `oci:${at('lazy-spec')}`, { ...chunks, ...spec });
  writeFileSync(at('image.json'), JSON.stringify({ tree: expectedTree(layers) }));
  writeFileSync(at('lazy-image.json'), JSON.stringify({ tree: expectedTree([large]) }));
}

/** Single layers: as blobs with their descriptors, and materialised. */
async function writeLayers() {
  writeFileSync(at('single.tar'), await makeTar(single));
  writeFileSync(at('tiny.tar'), await makeTar(tiny));
  const entries = { single: expectedTree([single]), tiny: expectedTree([tiny]) };
  const layers = [];
  for (const [source, blockSize] of [
    ['single', 4096],
    ['single', 512],
    ['tiny', 4096],
  ]) {
    const name = `${source}-sha512-${blockSize}`;
    const options = { dmVerity: true, dmVerityBlockSize: blockSize, chunkSize: 65_536 };
    const descriptor = await encodeLayer(at(`${source}.tar`), at(`${name}.blob`), options);
    writeFileSync(at(`${name}.json`), JSON.stringify(descriptor));
    await decodeBlob(at(`${name}.blob`), at(`${name}.erofs`), { descriptor, dmVerity: true });
    layers.push({ name, algorithm: 'sha512', blockSize, blob: true, tree: entries[source] });
  }
  checkVectors(join(root, 'test/golden/verity/vectors.json'), 'sha256');
  for (const [source, blockSize, salt] of [
    ['single', 4096, ''],
    ['single', 512, '00'.repeat(32)],
    ['single', 1024, 'a5'],
    ['tiny', 4096, ''],
  ]) {
    const name = `${source}-sha256-${blockSize}`;
    await materialise(name, source, { algorithm: 'sha256', blockSize, salt: Buffer.from(salt, 'hex') });
    layers.push({ name, algorithm: 'sha256', blockSize, blob: false, tree: entries[source] });
  }
  writeFileSync(at('layers.json'), JSON.stringify(layers));
}

/** A raw image with tree and sidecar, made without the project but for the EROFS image itself. */
async function materialise(name, source, shape) {
  mkdirSync(at('raw'), { recursive: true });
  const raw = at(`raw/${source}.erofs`);
  await buildErofs(at(`${source}.tar`), raw);
  const bytes = readFileSync(raw);
  const image = Buffer.concat([
    bytes,
    Buffer.alloc((shape.blockSize - (bytes.length % shape.blockSize)) % shape.blockSize),
  ]);
  const { payload, root: roothash } = buildPayload(image, shape);
  writeFileSync(at(`${name}.erofs`), Buffer.concat([image, payload]));
  writeFileSync(at(`${name}.erofs.dmverity`), JSON.stringify({ roothash, hashoffset: image.length }));
}
