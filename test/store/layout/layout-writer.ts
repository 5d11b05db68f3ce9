import { writeImage } from '../sample-image';
import { openDestination } from '../../../src/store/open';

// A process that writes images into one layout: layout-writer.ts DIR PREFIX COUNT. Prints a line after each.
async function main(): Promise<void> {
  const [folder, prefix, count] = process.argv.slice(2) as [string, string, string];
  for (let i = 0; i < Number(count); i++) {
    const { store, reference } = await openDestination(`oci:${folder}:${prefix}${i}`);
    await store.setReference(reference, await writeImage(store, `${prefix} ${i}`));
    await store.close();
    process.stdout.write(`${i}\n`);
  }
}

void main();
