#!/usr/bin/env node
// Answers seekable-erofs-conformance by this package's own reader: read-vector.mjs LAYOUT NAME. A model for those of others.
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const program = join(dirname(fileURLToPath(import.meta.url)), '..', 'dist', 'cli', 'main.js');
const [layout, name] = process.argv.slice(2);
const image = `oci:${layout}:${name}`;

function cli(...args) {
  const run = spawnSync(process.execPath, [program, ...args, '--allow-unverified'], { maxBuffer: 1 << 26 });
  if (run.status !== 0) {
    process.stderr.write(run.stderr);
    process.exit(run.status ?? 1);
  }
  return run.stdout;
}

cli('verify', image);
const tree = JSON.parse(cli('ls', '--recursive', '--json', image).toString());
for (const entry of tree) {
  entry.mtime = Number(entry.mtime.split('.')[0]);
  if (entry.type === 'file')
    entry.sha256 = createHash('sha256')
      .update(cli('cat', image, entry.path))
      .digest('hex');
}
process.stdout.write(JSON.stringify(tree));
