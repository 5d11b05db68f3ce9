// Opens a seekable blob and reads: seconds to the first 4 KiB, and to the listing of the root folder, each from nothing.
//   node open.mjs LIBRARY LOCATION DESCRIPTOR
import { readFileSync } from 'node:fs';

const [, , library, location, descriptorPath] = process.argv;
const { openBlob, openErofs } = await import(library);
const descriptor = JSON.parse(readFileSync(descriptorPath, 'utf8'));

async function timed(work) {
  const start = performance.now();
  const blob = await openBlob(location, { descriptor });
  await work(blob);
  const seconds = (performance.now() - start) / 1000;
  await blob.close();
  return seconds;
}

const firstByte = await timed((blob) => blob.read(0, 4096));
const listing = await timed(async (blob) => (await openErofs(blob)).readdir('/'));
console.log(JSON.stringify({ firstByte, listing }));
