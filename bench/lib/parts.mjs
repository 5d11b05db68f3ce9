// The unavoidable parts of a run, each measured alone, by bench/native/parts.cc (the core's own object files) and, for gzip, by
// bench/native/inflate.cc, which takes a checksum's function from Node and so is an addon.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './paths.mjs';

export class Parts {
  #program;
  #directory;

  constructor(directory) {
    this.#directory = directory;
    this.#program = join(directory, 'parts');
    if (isStale(this.#program)) {
      execFileSync(join(ROOT, 'bench', 'native', 'build.sh'), [directory], {
        stdio: ['ignore', 'inherit', 'inherit'],
      });
    }
  }

  /** The program's CPU seconds by part, and sizes. `instructionSet` is that of SEEKABLE_EROFS_HASH. */
  run(args, { instructionSet } = {}) {
    const forced = instructionSet === undefined ? {} : { SEEKABLE_EROFS_HASH: instructionSet };
    const env = { ...process.env, TMPDIR: this.#directory, ...forced };
    return JSON.parse(execFileSync(this.#program, args.map(String), { encoding: 'utf8', env }));
  }

  /** The command line of the program. */
  command(args) {
    return [this.#program, ...args.map(String)];
  }

  /** Image to blob: compression, leaves of the tree, SHA-512 of the frames, SHA-256 of image and blob, the copy to the page cache. */
  write(image, { level = 3, chunkSize = 4 << 20, leaves = 'sha512' } = {}) {
    const { seconds, bytes } = this.run(['write', image, level, chunkSize, leaves]);
    return {
      parts: pick(seconds, ['zstd', 'leaves', 'frameSha512', 'imageSha256', 'blobSha256', 'write']),
      bytes,
    };
  }

  /** Blob to image, `written` or only checked. */
  read(blob, { leaves = 'sha512', written = true } = {}) {
    const { seconds, bytes } = this.run(['read', blob, leaves]);
    const names = [
      'unzstd',
      'leaves',
      'frameSha512',
      'imageSha256',
      'blobSha256',
      ...(written ? ['write'] : []),
    ];
    return { parts: pick(seconds, names), bytes, alone: seconds.frameSha512Alone };
  }

  /** The source of a layer: its SHA-256, and of a compressed one the decompression and the SHA-256 of what comes out. */
  source(path, { compression = 'none' } = {}) {
    const { seconds } = this.run(['stream', path]);
    const parts = pick(seconds, ['sourceSha256', 'unzstd', 'contentSha256']);
    if (compression !== 'gzip') return parts;
    const job = join(ROOT, 'bench', 'jobs', 'inflate.mjs');
    const addon = join(this.#directory, 'inflate.node');
    const printed = execFileSync(process.execPath, [job, addon, path], { encoding: 'utf8' });
    return { ...parts, ...JSON.parse(printed) };
  }
}

const pick = (from, names) =>
  Object.fromEntries(names.filter((name) => name in from).map((name) => [name, from[name]]));

/** Whether the addon's objects, or parts.cc, are newer than the program. */
function isStale(program) {
  if (!existsSync(program)) return true;
  const made = statSync(program).mtimeMs;
  const objects = join(ROOT, 'build', 'Release', 'obj.target', 'seekable_erofs', 'native');
  const folders = ['base', 'hash', 'inflate', 'verity', 'zstd']
    .map((name) => join(objects, name))
    .filter((path) => existsSync(path));
  const native = join(ROOT, 'bench', 'native');
  const inputs = folders.flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)));
  return [...inputs, ...readdirSync(native).map((name) => join(native, name))].some(
    (path) => statSync(path).mtimeMs > made,
  );
}
