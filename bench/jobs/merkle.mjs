// Builds a Merkle tree over a file with the library; prints the seconds that it took and the root digest.
//   node merkle.mjs LIBRARY FILE ALGORITHM THREADS
const [, , library, path, algorithm, threads] = process.argv;
const { verityRoot } = await import(library);
const start = performance.now();
const root = await verityRoot(path, { algorithm, threads: Number(threads) });
console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, root }));
