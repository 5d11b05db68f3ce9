import promises from 'node:fs/promises';
import { convertImage } from '../../../src/convert/image';

// A conversion with dm-verity that is killed when it is about to give an entry's image its name: erofs-cache-killed.ts SOURCE CACHE.
async function main(): Promise<void> {
  const [source, cache] = process.argv.slice(2) as [string, string];
  const { rename } = promises;
  promises.rename = async (from, to) => {
    if (String(to).endsWith('.erofs')) process.kill(process.pid, 'SIGKILL');
    await rename(from, to);
  };
  await convertImage(`oci:${source}`, `erofs-cache:${cache}`, { dmVerity: true });
}

void main();
