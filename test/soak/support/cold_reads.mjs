// Opens every layer of an image in a registry as a lazy mount would, and reads it in pieces, many at once: in a process of its own, so that
// nothing is warm. cold_reads.mjs DIST REFERENCE SEED SECONDS
// Ends with 3 and says what it still had to do when it is not done after SECONDS.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const [dist, reference, seed, seconds] = process.argv.slice(2);
const { openBlob, openRegistryBlob } = createRequire(import.meta.url)(dist);
const open = new Set();

setTimeout(
  () => {
    const report = process.report.getReport();
    console.log(
      JSON.stringify({
        open: [...open],
        resources: process.getActiveResourcesInfo(),
        handles: report.libuv.filter(({ is_active }) => is_active),
        stack: report.javascriptStack,
      }),
    );
    process.exit(3);
  },
  Number(seconds) * 1000,
).unref();

/** xorshift: the same reads for the same seed. */
let random = (Number(seed) * 2654435761) >>> 0 || 1;
function below(limit) {
  random ^= random << 13;
  random ^= random >>> 17;
  random = (random ^ (random << 5)) >>> 0;
  return random % limit;
}

async function noted(what, promise) {
  open.add(what);
  try {
    return await promise;
  } finally {
    open.delete(what);
  }
}

async function readLayer(descriptor) {
  const name = descriptor.digest.slice(7, 15);
  const source = await noted(`${name}: source`, openRegistryBlob(reference, descriptor, { concurrency: 32 }));
  const blob = await noted(`${name}: table`, openBlob(source, { descriptor, cacheBytes: 2 ** 30 }));
  const piece = async (offset, length) => {
    const bytes = await noted(`${name}: ${length} from ${offset}`, blob.read(offset, length));
    assert.equal(bytes.length, length);
  };
  const { size } = blob;
  const ends = [piece(0, Math.min(size, 1 << 18))];
  for (let i = 0; i < 60; i++) {
    const offset = below(size);
    ends.push(piece(offset, Math.min(size - offset, 1 + below(1 << 17))));
    // Some wait for what came before, as a program does that reads what it has read of.
    if (i % 10 === 9) await Promise.all(ends.splice(0));
  }
  await Promise.all(ends);
  await noted(`${name}: close`, blob.close());
}

const [, host, repository, tag] = /^docker:\/\/([^/]+)\/(.+):([^:]+)$/.exec(reference);
const accept = 'application/vnd.oci.image.manifest.v1+json';
const response = await noted(
  'manifest',
  fetch(`http://${host}/v2/${repository}/manifests/${tag}`, { headers: { accept } }),
);
const { layers } = await noted('manifest', response.json());
await Promise.all(layers.map(readLayer));
assert.equal(open.size, 0);
