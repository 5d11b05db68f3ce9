import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { vectorFiles } from './files';

// Writes vectors/ anew: node test/support/run-ts.mjs CACHE test/support/vectors/write.ts, where CACHE is an empty folder
const folder = process.argv[2] ?? join(__dirname, '../../../vectors');
rmSync(join(folder, 'layout'), { recursive: true, force: true });
for (const [path, bytes] of vectorFiles()) {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), bytes);
}
