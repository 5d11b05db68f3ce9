import type { SeekableErofsError } from '../../../src/errors';
import { openDestination, openSource } from '../../../src/store/open';
import { writeImage } from '../sample-image';

// A process that writes an archive to its standard output (`write`), or tells what one on its standard input holds (`read`).
async function write(): Promise<void> {
  const { store, reference } = await openDestination('oci-archive:-:v1');
  await store.setReference(reference, await writeImage(store, 'piped'));
  await store.close();
}

async function read(): Promise<void> {
  const { store, reference } = await openSource('oci-archive:-:v1');
  const { digest } = await store.resolve(reference);
  await store.close();
  process.stdout.write(`${digest}\n`);
}

(process.argv[2] === 'write' ? write() : read()).catch((error: unknown) => {
  process.stderr.write(`${(error as SeekableErofsError).code}\n`);
  process.exitCode = 1;
});
