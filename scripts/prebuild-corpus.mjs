// Run by check-prebuilds.mjs under the Node of each kind of machine: converts every layer of a folder, and prints what came of it.
//   node prebuild-corpus.mjs FOLDER      one line of JSON: the addon's features, and by layer the digests or the error
import { readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const require = createRequire(import.meta.url);
const { buildErofs, decodeBlob, encodeLayer } = require('../dist/index.js');
const { native } = require('../dist/native/binding.js');
const profiles = ['containerd', 'erofs-image-spec'];

/** What a layer may be refused for. All else is the machine's fault (memory, disk, a thread that could not be started), and no result. */
const refusals = new Set(['CORRUPT', 'REFUSED']);

/** What must be the same everywhere: digests of blob, image and tree, or why it is refused. */
async function outcome(action) {
  try {
    return await action();
  } catch (error) {
    const { code, what, why } = error;
    if (!refusals.has(code)) throw error;
    return { code, what, why };
  }
}

async function convert(layer, scratch) {
  const image = await outcome(() => buildErofs(layer, `${scratch}.erofs`));
  const blobs = {};
  for (const profile of profiles) {
    blobs[profile] = await outcome(async () => {
      const encoded = await encodeLayer(layer, `${scratch}.blob`, {
        profile,
        dmVerity: true,
        chunkSize: 16384,
      });
      const decoded = await decodeBlob(`${scratch}.blob`, `${scratch}.raw`, {
        descriptor: encoded,
        dmVerity: true,
      });
      return { encoded, diffId: decoded.diffId };
    });
  }
  return { image, blobs };
}

const folder = process.argv[2];
const scratch = join(tmpdir(), `prebuild-corpus-${process.pid}`);
const layers = {};
for (const name of readdirSync(folder)
  .filter((file) => /\.tar(\.gz|\.zst)?$/.test(file))
  .sort()) {
  layers[name] = await convert(join(folder, name), scratch);
}
for (const ending of ['erofs', 'blob', 'raw', 'raw.dmverity'])
  rmSync(`${scratch}.${ending}`, { force: true });
const text = JSON.stringify({
  features: native.features(),
  node: process.version,
  arch: process.arch,
  layers,
});
process.stdout.write(text.replaceAll(scratch, 'SCRATCH'));
