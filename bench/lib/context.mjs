// What every claim gets: the options, our program, the other ones, and the files to work on.
import { existsSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join, resolve } from 'node:path';
import { benchDirectory } from './corpus.mjs';
import { Inputs } from './inputs.mjs';
import { Parts } from './parts.mjs';
import { ROOT } from './paths.mjs';
import { Peers } from './peers.mjs';
import { buildGo, findMkfs } from './programs.mjs';

export class Context {
  directory = benchDirectory();
  cores = cpus().length;
  #parts;
  #go;

  constructor(options) {
    this.options = options;
    this.megabytes = Number(options.size);
    this.runs = Number(options.runs);
    this.corpus = options.corpus;
    this.chunkSize = options['chunk-size'];
    this.long = options.long === true;
    this.threads = options.threads === undefined ? this.cores : Number(options.threads);
    this.program = ourProgram(options.cli);
    Object.assign(this, findMkfs());
    this.inputs = new Inputs(this);
    this.peers = new Peers(this);
  }

  /** The command line of our program. */
  ours(args, { threads = this.threads } = {}) {
    const limited = threads === this.cores ? [] : ['--threads', String(threads)];
    return [process.execPath, this.program, ...args, ...limited];
  }

  /** The command line of a program of bench/jobs, which uses our library. */
  job(name, ...args) {
    return [process.execPath, join(ROOT, 'bench', 'jobs', `${name}.mjs`), this.entry, ...args.map(String)];
  }

  /** The library beside the program. */
  get entry() {
    return join(this.program, '..', '..', 'index.mjs');
  }

  /** The command line of bench/go; only where goMissing is undefined. */
  go(args) {
    return [this.#goProgram().path, ...args];
  }

  /** Why there is no Go program, if so. */
  get goMissing() {
    return this.#goProgram().missing;
  }

  /** Measures the unavoidable parts. */
  get parts() {
    return (this.#parts ??= new Parts(this.directory));
  }

  #goProgram() {
    return (this.#go ??= buildGo(this.directory, 'go'));
  }
}

function ourProgram(override) {
  const { bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const program = override ? resolve(override) : join(ROOT, bin['seekable-erofs']);
  if (!existsSync(program)) throw new Error(`${program} is missing: run "npm run build" first`);
  return program;
}
