import { basename } from 'node:path';
import promises from 'node:fs/promises';
import { openDestination } from '../../../src/store/open';
import { writeImage } from '../sample-image';

// A writer that is killed when it is about to give a file this name: layout-killed.ts DIR SEED NAME.
async function main(): Promise<void> {
  const [folder, seed, name] = process.argv.slice(2) as [string, string, string];
  const { rename } = promises;
  promises.rename = async (from, to) => {
    if (basename(String(to)) === name) process.kill(process.pid, 'SIGKILL');
    await rename(from, to);
  };
  const { store, reference } = await openDestination(`oci:${folder}:${seed}`);
  await store.setReference(reference, await writeImage(store, seed));
}

void main();
