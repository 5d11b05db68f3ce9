// A tar that is the same on every machine: by bytes 37 % text, 45 % like programs, 15 % incompressible, 3 % small files of text (three of four
// entries; some 37 000 entries in a GB, as in /usr); from a seed.
// Every file is a piece of a pool of its kind, at a place that the generator gives: 32 MiB pools, so that a chunk of 4 MiB seldom has
// a piece twice, and zstd finds in it what it would find in such content.
import { closeSync, openSync, writeSync } from 'node:fs';

const POOL = 32 * 2 ** 20;
const KINDS = [
  { name: 'text', share: 0.37, least: 2_000, most: 200_000 },
  { name: 'program', share: 0.45, least: 20_000, most: 4_000_000 },
  { name: 'noise', share: 0.15, least: 10_000, most: 2_000_000 },
  { name: 'small', share: 0.03, least: 100, most: 4_000 },
];
const FILES_PER_FOLDER = 200;
const MTIME = 1700000000;

/** A generator of numbers from 0 up to 2^32: xorshift, the same everywhere. */
export function random(seed) {
  let state = (seed * 2654435761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>>= 0);
  };
}

/** Writes a tar with `bytes` of file data to `path`. */
export function writeSynthetic(path, { bytes, seed = 1 }) {
  const next = random(seed);
  const content = pools();
  const tar = new TarFile(path);
  const written = Object.fromEntries(KINDS.map(({ name }) => [name, 0]));
  for (let total = 0, i = 0; total < bytes; i++) {
    const kind = KINDS.reduce((a, b) => (written[b.name] / b.share < written[a.name] / a.share ? b : a));
    // Sizes are spread evenly over their magnitudes, as those of files are.
    const size = Math.min(
      bytes - total,
      Math.floor(kind.least * (kind.most / kind.least) ** (next() / 2 ** 32)),
    );
    const at = next() % (POOL - size);
    if (i % FILES_PER_FOLDER === 0) tar.folder(folderName(i));
    tar.file(`${folderName(i)}${kind.name}-${i}`, content[kind.name].subarray(at, at + size));
    written[kind.name] += size;
    total += size;
  }
  tar.end();
}

/** A tar of `entries` small files, `perFolder` in each folder. */
export function writeManyFiles(path, { entries, perFolder = 1000, size = 16 }) {
  const tar = new TarFile(path);
  const data = Buffer.alloc(size, 'seekable');
  for (let i = 0; i < entries; i++) {
    const folder = `d${Math.floor(i / perFolder)}/`;
    if (i === 0 || i % perFolder === 0) tar.folder(folder);
    data.writeUInt32LE(i, 0);
    tar.file(`${folder}file-${i}`, data);
  }
  tar.end();
}

const folderName = (i) => `data/${Math.floor(i / FILES_PER_FOLDER)}/`;

let made = null;

/** The pool of each kind; made once, in a second. */
function pools() {
  if (made === null) {
    const text = textPool(random(11));
    made = { text, program: programPool(random(12)), noise: noisePool(random(13)), small: text };
  }
  return made;
}

function noisePool(next) {
  const pool = new Uint32Array(POOL / 4);
  for (let i = 0; i < pool.length; i++) pool[i] = next();
  return Buffer.from(pool.buffer);
}

/** Lines of words: few of them often, many seldom. */
function textPool(next) {
  const words = Array.from({ length: 8192 }, () => {
    const letters = Array.from(
      { length: 2 + (next() % 9) },
      () => 97 + (((next() % 676) >> ((next() % 3) + 3)) % 26),
    );
    return Buffer.from([...letters, 32]);
  });
  const pool = Buffer.alloc(POOL);
  for (let at = 0; at < POOL;) {
    const word = words[Math.floor(words.length * (next() / 2 ** 32) ** 3)];
    at += word.copy(pool, at);
    if (next() % 11 === 0) pool[at - 1] = 10;
  }
  return pool;
}

/** Records of eight bytes, of which some come again from not far before: opcodes, addresses, tables. */
function programPool(next) {
  const pool = Buffer.alloc(POOL);
  for (let at = 0; at < POOL;) {
    const kind = next() % 16;
    if (kind < 5 && at > 4096) {
      const length = 8 + (next() % 24);
      const from = at - 1 - (next() % Math.min(at - 64, 60_000)) - 32;
      at += pool.copy(pool, at, Math.max(0, from), Math.max(0, from) + Math.min(length, POOL - at));
    } else if (kind < 7) {
      at += 4 + (next() % 12); // zeros
    } else {
      for (let i = 0; i < 8 && at < POOL; i++) pool[at++] = next() % (i < 3 ? 64 : 200);
    }
  }
  return pool;
}

/** A tar that is written entry by entry: ustar headers, no more. */
class TarFile {
  #fd;
  #pending = [];
  #bytes = 0;

  constructor(path) {
    this.#fd = openSync(path, 'w');
  }

  folder(name) {
    this.#push(header(name, { type: '5', mode: 0o755, size: 0 }));
  }

  file(name, data) {
    this.#push(header(name, { type: '0', mode: 0o644, size: data.length }), data, padding(data.length));
  }

  end() {
    this.#push(Buffer.alloc(1024));
    this.#flush();
    closeSync(this.#fd);
  }

  #push(...parts) {
    for (const part of parts) {
      this.#pending.push(part);
      this.#bytes += part.length;
    }
    if (this.#bytes > 4 << 20) this.#flush();
  }

  #flush() {
    const all = Buffer.concat(this.#pending);
    for (let at = 0; at < all.length;) at += writeSync(this.#fd, all, at);
    this.#pending = [];
    this.#bytes = 0;
  }
}

const padding = (size) => Buffer.alloc((512 - (size % 512)) % 512);

function header(name, { type, mode, size }) {
  const block = Buffer.alloc(512);
  const octal = (value, at, length) => block.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
  block.write(name, 0, 'latin1');
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(MTIME, 136, 12);
  block.write('        ', 148, 'latin1');
  block.write(`${type}`, 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  octal(
    block.reduce((total, byte) => total + byte, 0),
    148,
    7,
  );
  return block;
}
