// Random reads of a seekable blob with the library; prints latencies in seconds.
//   node read.mjs LIBRARY LOCATION DESCRIPTOR COUNT SIZE fresh|cached
// fresh: every read is of another chunk than the one before, and no chunk is kept. cached: all reads are of one chunk, which is kept.
import { readFileSync } from 'node:fs';
import { percentile } from '../lib/stats.mjs';

const [, , library, location, descriptorPath, countText, sizeText, mode] = process.argv;
const [count, size] = [Number(countText), Number(sizeText)];
const { openBlob } = await import(library);
const descriptor = JSON.parse(readFileSync(descriptorPath, 'utf8'));
const blob = await openBlob(location, { descriptor, ...(mode === 'fresh' && { cacheBytes: 0 }) });
const chunkSize = descriptor.chunkSize;

let state = 1;
const random = (below) => {
  state = (state * 48271) % 0x7fffffff;
  return state % below;
};
const places = Math.floor(blob.size / size);
let lastChunk = -1;
function nextOffset() {
  if (mode === 'cached') return random(Math.max(1, Math.floor(Math.min(chunkSize, blob.size) / size))) * size;
  for (;;) {
    const offset = random(places) * size;
    if (Math.floor(offset / chunkSize) === lastChunk && blob.size > chunkSize) continue;
    lastChunk = Math.floor((offset + size - 1) / chunkSize);
    return offset;
  }
}

for (let i = 0; i < 20; i++) await blob.read(nextOffset(), size); // compiled, connected
const seconds = [];
for (let i = 0; i < count; i++) {
  const offset = nextOffset();
  const start = process.hrtime.bigint();
  await blob.read(offset, size);
  seconds.push(Number(process.hrtime.bigint() - start) / 1e9);
}
await blob.close();
console.log(JSON.stringify({ p50: percentile(seconds, 0.5), p99: percentile(seconds, 0.99) }));
