import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** Images of mkfs.erofs; see golden/erofs-compressed/README.md. */
const folder = join(__dirname, '..', '..', 'golden', 'erofs-compressed');
const suffix = '.erofs.gz';

export function compressedImageNames(): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(suffix))
    .map((name) => name.slice(0, -suffix.length));
}

export function compressedImage(name: string): Buffer {
  return gunzipSync(readFileSync(join(folder, `${name}${suffix}`)));
}

/** SHA-256 of each file of every image, by its path from the root. */
export function expectedSums(): Map<string, string> {
  const lines = readFileSync(join(folder, 'sha256sums'), 'utf8').trim().split('\n');
  return new Map(lines.map((line) => [line.slice(67), line.slice(0, 64)]));
}
