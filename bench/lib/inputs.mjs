// The files that claims work on, each made when the first claim asks for it. What our own program made is removed at the end: another
// build makes other bytes. Corpora stay (lib/corpus.mjs).
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { LAYER_SHARES, compressed, corpusTar, corpusTars } from './corpus.mjs';
import { writeLayout } from './layout.mjs';

export class Inputs {
  #context;
  #scratch;
  #made = new Map();
  #count = 0;

  constructor(context) {
    this.#context = context;
    this.#scratch = mkdtempSync(join(context.directory, 'run-'));
  }

  /** A path in a folder that is removed at the end. */
  scratch(name) {
    return join(this.#scratch, name);
  }

  /** Removes what is there, before the end. */
  removeScratch(name) {
    rmSync(this.scratch(name), { recursive: true, force: true });
  }

  /** The tar of a layer. */
  tar() {
    const { directory, corpus, megabytes, options } = this.#context;
    return options.tar ? resolve(options.tar) : corpusTar(directory, corpus, megabytes);
  }

  /** The same, compressed: `gzip` or `zstd`. */
  async packedTar(program) {
    return (await compressed([this.tar()], program))[0];
  }

  /** Tars of an image's six layers, together as large as tar(). */
  layerTars() {
    const { directory, corpus, megabytes } = this.#context;
    return corpusTars(directory, corpus, megabytes, LAYER_SHARES);
  }

  /** The raw EROFS image of a tar, as our program builds it. */
  image(tar = this.tar()) {
    if (this.#context.options.image && tar === this.tar()) return resolve(this.#context.options.image);
    return this.#once(`image ${tar}`, (path) => {
      this.#ours(['build', tar, path]);
      return path;
    });
  }

  /** A seekable blob of the image: `{path, descriptor, descriptorPath, bytes}`. */
  blob({ verity = true, chunkSize = '4MiB' } = {}) {
    return this.#once(`blob ${verity} ${chunkSize}`, (path) => {
      const flags = ['--chunk-size', chunkSize, ...(verity ? ['--dm-verity'] : [])];
      const descriptor = JSON.parse(this.#ours(['encode', this.image(), path, '--json', ...flags]));
      const descriptorPath = `${path}.json`;
      writeFileSync(descriptorPath, JSON.stringify(descriptor));
      return { path, descriptor, descriptorPath, bytes: statSync(path).size };
    });
  }

  /** An OCI layout with these tars as layers. */
  async layout(tars, compression) {
    const key = `layout ${compression} ${tars.join(' ')}`;
    const files = compression === 'none' ? tars : await compressed(tars, compression);
    const layers = tars.map((tar, i) => ({ tar, path: files[i] }));
    return this.#once(key, (path) => {
      writeLayout(path, layers, { compression });
      return { path, files };
    });
  }

  remove() {
    rmSync(this.#scratch, { recursive: true, force: true });
  }

  #once(key, make) {
    if (!this.#made.has(key)) {
      mkdirSync(this.#scratch, { recursive: true });
      const path = this.scratch(`input-${this.#count++}`); // a thing may be made of others that are made meanwhile
      this.#made.set(key, make(path));
    }
    return this.#made.get(key);
  }

  #ours(args) {
    const [program, ...rest] = this.#context.ours([...args, '--quiet']);
    return execFileSync(program, rest, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  }
}
