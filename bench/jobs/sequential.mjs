// Reads a file from start to end, a MiB at a time, and prints {"seconds"}.
//   node sequential.mjs LIBRARY FILE
import { closeSync, openSync, readSync } from 'node:fs';

const file = openSync(process.argv[3], 'r');
const buffer = Buffer.alloc(1 << 20);
const start = process.hrtime.bigint();
while (readSync(file, buffer, 0, buffer.length, null) > 0);
console.log(JSON.stringify({ seconds: Number(process.hrtime.bigint() - start) / 1e9 }));
closeSync(file);
