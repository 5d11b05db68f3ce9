// npm start: the main job, offline. Makes an image of this machine's own files, converts it with dm-verity, verifies it, and
// as root has the kernel mount it and runs programs out of it. With an argument it converts that image instead:
//   npm start -- oci:DIR:REF [DESTINATION]
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describeLayout, writeMachineImage } from './start/machine-image.mjs';
import { runConverted } from './start/run-converted.mjs';

const cli = join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist', 'cli', 'main.js');
const reference = 'demo';

/** Runs the program with its output shown, from the folder that npm was called in. */
function program(...args) {
  console.log(`\n$ seekable-erofs ${args.join(' ')}`);
  const cwd = process.env.INIT_CWD ?? process.cwd();
  const { status, signal } = spawnSync(process.execPath, [cli, ...args], { cwd, stdio: 'inherit' });
  if (signal !== null) throw new Error(`seekable-erofs ${args[0]} was ended by ${signal}`);
  if (status !== 0) process.exitCode = status;
  return status === 0;
}

function convertGiven(source, destination = defaultDestination(source)) {
  if (!program('convert', source, destination, '--dm-verity')) return;
  if (program('verify', destination)) console.log(`\nThe converted image is ${destination}`);
}

/** Beside where npm was called, under the source's own name. */
function defaultDestination(source) {
  const folder = resolve(process.env.INIT_CWD ?? '.', 'converted');
  const name = /^[a-z-]+:[^:]*:(.+)$/.exec(source)?.[1];
  return `oci:${folder}${name === undefined ? '' : `:${name}`}`;
}

async function demonstrate(work) {
  const source = join(work, 'source');
  const converted = join(work, 'converted');
  const started = performance.now();
  console.log("Making an image of this machine's own files …");
  const made = await writeMachineImage(source, reference);
  console.log(`  took ${seconds(started)} s:`);
  for (const layer of made.layers) console.log(`  ${layer.description}: ${megabytes(layer.size)} MB`);

  const destination = `oci:${converted}:${reference}`;
  const converting = performance.now();
  if (!program('convert', `oci:${source}:${reference}`, destination, '--dm-verity')) return;
  const before = made.layers.reduce((sum, { size }) => sum + size, 0);
  const blobs = describeLayout(converted);
  const after = blobs.reduce((sum, { size }) => sum + size, 0);
  const saved = (100 * (1 - after / before)).toFixed(0);
  console.log(
    `${megabytes(before)} MB became ${megabytes(after)} MB (${saved} % saved) in ${seconds(converting)} s`,
  );

  if (!program('verify', destination)) return;
  if (!inspect(destination)) return;
  runConverted({ cli, program, work, image: destination, made });
}

/** The whole chunk tables would fill screens. */
function inspect(subject) {
  console.log(`\n$ seekable-erofs inspect ${subject} --json   (a summary of it)`);
  const printed = execFileSync(process.execPath, [cli, 'inspect', subject, '--json'], { maxBuffer: 1 << 28 });
  for (const { platform, layers } of JSON.parse(printed).manifests) {
    for (const { descriptor, table, dmverity } of layers) {
      const chunks = `${table.entries.length} chunks of at most ${table.chunkSize} bytes`;
      console.log(`  ${platform} ${descriptor.mediaType} ${descriptor.digest.slice(0, 19)}…: ${chunks}`);
      console.log(
        `    dm-verity root ${dmverity.rootDigest.slice(0, 39)}… over ${dmverity.dataBlocks} blocks`,
      );
    }
  }
  return true;
}

const seconds = (since) => ((performance.now() - since) / 1000).toFixed(1);
const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

const [source, destination] = process.argv.slice(2);
if (source !== undefined) {
  convertGiven(source, destination);
} else {
  const work = mkdtempSync(join(tmpdir(), 'seekable-erofs-'));
  const remove = () => rmSync(work, { recursive: true, force: true });
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
    ['SIGQUIT', 131],
  ]) {
    process.on(signal, () => {
      remove();
      process.exit(code);
    });
  }
  try {
    await demonstrate(work);
  } catch (error) {
    console.error(`error: ${error.message}`);
    process.exitCode ||= 1;
  } finally {
    remove();
  }
  if (!process.exitCode)
    console.log('\nDone; everything temporary is removed. Yours: npm start -- oci:DIR:REF');
}
