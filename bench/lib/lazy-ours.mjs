// Contestants of the claim `lazy` that are ours: mounts and containers with nothing kept of earlier ones.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { coldFolder, dropCaches } from './cold.mjs';
import { ROOT } from './paths.mjs';
import { comesUp } from './ports.mjs';
import { which } from './programs.mjs';

/** Our program with a state folder of its own. */
export class OurState {
  #context;
  #folder = coldFolder();

  constructor(context) {
    this.#context = context;
  }

  /** The command line of our program. */
  command(name, ...args) {
    const state = ['--state', this.#folder.at('state'), '--quiet'];
    return [process.execPath, this.#context.program, name, ...state, ...args];
  }

  run(...args) {
    const [program, ...rest] = this.command(...args);
    execFileSync(program, rest, { stdio: ['ignore', 'ignore', 'inherit'] });
  }

  /** Where images may be mounted. */
  at(name) {
    return this.#folder.at(name);
  }

  /** Nothing is there any more, and no server runs. */
  renew() {
    this.#folder.renew();
    mkdirSync(this.at('mnt'));
  }

  /** A lazy mount, undone, of which nothing is kept. */
  mountOnce(reference) {
    this.run('mount', '--lazy', reference, this.at('mnt'));
    this.run('umount', this.at('mnt'));
    this.forget();
  }

  /** Nothing is kept of any image that was mounted lazily, and none is mounted. A server goes on. */
  forget() {
    for (const folder of ['lazy', 'documents'].map((name) => this.at(join('state/content', name)))) {
      for (const entry of readdirSync(folder)) rmSync(join(folder, entry), { recursive: true });
    }
  }

  async serve(...flags) {
    const [program, ...args] = this.command('serve', ...flags);
    spawn(program, args, { stdio: 'ignore' }).unref(); // its folder's end is its own
    await comesUp(this.at('state/lazy/socket'));
  }

  /** The files of which a start reads some. */
  get programs() {
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    const modules = Object.keys(dependencies).map((name) => join(ROOT, 'node_modules', name));
    const built = ['dist', 'build/Release', 'package.json'].map((name) => join(ROOT, name));
    return [process.execPath, which('runc'), ...built, ...modules];
  }

  clear() {
    this.#folder.clear();
  }
}

/**
 * A contestant that begins with an empty state; `action` is its command line. `serves`: a server runs already; with `mounted`, a reference, it
 * has mounted that before, as on any machine but for its first container. Nothing of it is kept, and it comes from another host.
 */
export function coldOurs(context, registry, contestant) {
  const { key, label, network, serves = false, mounted, action, timed = true } = contestant;
  const state = new OurState(context);
  const argv = action(state);
  return {
    key,
    label,
    argv: timed ? context.job('first-output', ...argv) : argv,
    async before() {
      state.renew();
      if (serves) await state.serve();
      if (mounted !== undefined) state.mountOnce(mounted);
      dropCaches(state.programs);
      await registry.setNetwork(network);
    },
    result: async (output) => ({ ...(timed && JSON.parse(output)), traffic: await registry.counts() }),
    after: () => state.clear(),
  };
}
