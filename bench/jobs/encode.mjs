// Encodes a tar with the library, with dm-verity; prints the seconds that it took.
//   node encode.mjs LIBRARY TAR BLOB THREADS
const [, , library, tar, blob, threads] = process.argv;
const { encodeLayer } = await import(library);
const start = performance.now();
await encodeLayer(tar, blob, { dmVerity: true, chunkSize: 4 << 20, threads: Number(threads) });
console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000 }));
