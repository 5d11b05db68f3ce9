import { createCipheriv } from 'node:crypto';
import { linkSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const small = { count: 4800, most: 9000 };
const large = { count: 400, least: 300_000, most: 750_000 };

/**
 * Makes a tree of the size of a distribution's in `folder`, always the same: 5200 files with 220 MB, half of them noise and half text, in
 * folders of some fifty; every tenth has a symbolic link, every twentieth another name.
 */
export function writeMadeTree(folder: string): void {
  for (let i = 0; i < small.count + large.count; i++) {
    const path = join(folder, `made/package-${i % 7}/part-${i % 101}/file-${i}`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, contentOf(i), { mode: i % 3 === 0 ? 0o755 : 0o644 });
    utimesSync(path, 1_600_000_000 + i, 1_600_000_000 + (i % 5) / 8);
    if (i % 10 === 0) symlinkSync(`file-${i}`, `${path}.link`);
    if (i % 20 === 0) linkSync(path, `${path}.too`);
  }
}

function contentOf(number: number): Buffer {
  const size =
    number < small.count
      ? (number * 37) % small.most
      : large.least + ((number * 9973) % (large.most - large.least));
  if (number % 2 === 0) return Buffer.alloc(size, `line ${number} of a text that goes on and on\n`);
  const iv = Buffer.alloc(16);
  iv.writeUInt32LE(number);
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, 'made tree'), iv).update(Buffer.alloc(size));
}
