import { failure } from '../errors';
import { escapePath, showBytes } from '../format/escaped-path';
import type { Tree, TypedNode } from './tree';

/** As Linux does. */
const maxSymlinks = 40;

/** A node, and the path without symlinks at which it was found: a byte string that begins with a slash. */
export interface FoundNode<N> {
  path: string;
  node: N;
  /** The directories above it, from the root. */
  parents: N[];
}

/**
 * Looks a path up from the root, which ".." and symlinks never leave. The last component's symlink is followed if `follow`, or when a slash
 * ends the path. NOT_FOUND when there is no such path, FAILED after 40 symlinks; `what` is what errors call the path.
 */
export async function lookUp<N extends TypedNode>(
  tree: Tree<N>,
  path: Uint8Array,
  follow: boolean,
  what = escapePath(path),
): Promise<FoundNode<N>> {
  const lookup = new Lookup(tree, Buffer.from(path).toString('latin1'), what);
  await lookup.run(follow);
  return lookup.result();
}

class Lookup<N extends TypedNode> {
  /** From the root, without it, to what was found last. */
  private trail: { name: string; node: N }[] = [];
  /** What is left to do, the next one last. */
  private readonly rest: string[];
  private symlinks = 0;

  constructor(
    private readonly tree: Tree<N>,
    path: string,
    private readonly what: string,
  ) {
    this.rest = components(path);
  }

  async run(follow: boolean): Promise<void> {
    for (let name = this.rest.pop(); name !== undefined; name = this.rest.pop()) {
      await this.step(name, follow || this.rest.length > 0);
    }
  }

  result(): FoundNode<N> {
    const path = this.trail.map(({ name }) => `/${name}`).join('');
    const nodes = [this.tree.root, ...this.trail.map(({ node }) => node)];
    return { path: path === '' ? '/' : path, node: nodes.pop()!, parents: nodes };
  }

  private async step(name: string, follow: boolean): Promise<void> {
    const directory = this.trail.at(-1)?.node ?? this.tree.root;
    if (directory.type !== 'dir') throw this.error('NOT_FOUND', `${this.shown()} is no directory`);
    if (name === '.') return;
    if (name === '..') {
      this.trail.pop();
      return;
    }
    const node = await this.tree.lookup(directory, name);
    if (node === undefined) {
      throw this.error('NOT_FOUND', `there is no "${showBytes(name)}" in ${this.shown()}`);
    }
    if (node.type === 'symlink' && follow) this.enter((await this.tree.readlink(node)).toString('latin1'));
    else this.trail.push({ name, node });
  }

  private enter(target: string): void {
    if (target === '') throw this.error('NOT_FOUND', `an empty symlink in ${this.shown()}`);
    if (++this.symlinks > maxSymlinks) throw this.error('FAILED', `more than ${maxSymlinks} symlinks`);
    if (target.startsWith('/')) this.trail = [];
    this.rest.push(...components(target));
  }

  private shown(): string {
    return showBytes(this.result().path);
  }

  private error(code: 'NOT_FOUND' | 'FAILED', why: string): Error {
    return failure(code, this.what, why);
  }
}

/** In reverse. A slash at the end asks for a directory, so it stands for ".". */
function components(path: string): string[] {
  const names = path.split('/').filter((name) => name !== '');
  if (path.endsWith('/')) names.push('.');
  return names.reverse();
}
