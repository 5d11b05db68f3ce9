import { failure } from '../errors';
import { escapePath } from '../format/escaped-path';
import type { MergedNode, MergedTree } from './merged-tree';
import { showBytes } from './tree-node';

/** As Linux does. */
const mostSymlinks = 40;

/** A node, and the path without symlinks at which it was found: a byte string that begins with a slash. */
export interface FoundNode {
  path: string;
  node: MergedNode;
  /** The directories above it, from the root. */
  parents: MergedNode[];
}

/**
 * Looks a path up from the root, which ".." and symlinks never leave. The last component's symlink is followed if `follow`, or when a slash
 * ends the path. NOT_FOUND names the path; FAILED after 40 symlinks.
 */
export async function lookUp(tree: MergedTree, path: Uint8Array, follow: boolean): Promise<FoundNode> {
  const lookup = new Lookup(tree, path);
  await lookup.run(follow);
  return lookup.result();
}

class Lookup {
  /** From the root, without it, to what was found last. */
  private trail: { name: string; node: MergedNode }[] = [];
  /** What is left to do, the next one last. */
  private readonly rest: string[];
  private symlinks = 0;

  constructor(
    private readonly tree: MergedTree,
    private readonly path: Uint8Array,
  ) {
    this.rest = components(Buffer.from(path).toString('latin1'));
  }

  async run(follow: boolean): Promise<void> {
    for (let name = this.rest.pop(); name !== undefined; name = this.rest.pop()) {
      await this.step(name, follow || this.rest.length > 0);
    }
  }

  result(): FoundNode {
    const path = this.trail.map(({ name }) => `/${name}`).join('');
    const nodes = [this.tree.root, ...this.trail.map(({ node }) => node)];
    return { path: path === '' ? '/' : path, node: nodes.pop()!, parents: nodes };
  }

  private async step(name: string, follow: boolean): Promise<void> {
    const directory = this.trail.at(-1)?.node ?? this.tree.root;
    if (directory.inode.type !== 'dir') throw this.error('NOT_FOUND', `${this.shown()} is no directory`);
    if (name === '.') return;
    if (name === '..') {
      this.trail.pop();
      return;
    }
    const node = await this.tree.lookup(directory, name);
    if (node === undefined) {
      throw this.error('NOT_FOUND', `there is no "${showBytes(name)}" in ${this.shown()}`);
    }
    if (node.inode.type === 'symlink' && follow)
      this.enter((await this.tree.readlink(node)).toString('latin1'));
    else this.trail.push({ name, node });
  }

  private enter(target: string): void {
    if (target === '') throw this.error('NOT_FOUND', `an empty symlink in ${this.shown()}`);
    if (++this.symlinks > mostSymlinks) throw this.error('FAILED', `more than ${mostSymlinks} symlinks`);
    if (target.startsWith('/')) this.trail = [];
    this.rest.push(...components(target));
  }

  private shown(): string {
    return showBytes(this.result().path);
  }

  private error(code: 'NOT_FOUND' | 'FAILED', why: string): Error {
    return failure(code, escapePath(this.path), why);
  }
}

/** In reverse. A slash at the end asks for a directory, so it stands for ".". */
function components(path: string): string[] {
  const names = path.split('/').filter((name) => name !== '');
  if (path.endsWith('/')) names.push('.');
  return names.reverse();
}
