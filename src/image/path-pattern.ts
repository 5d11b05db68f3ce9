import { failure, SeekableErofsError } from '../errors';
import { lookUp, type FoundNode } from '../erofs/tree-lookup';
import { walkTree } from '../erofs/tree-walk';
import { unescapePath } from '../format/escaped-path';
import type { MergedNode, MergedTree } from './merged-tree';

/** Patterns of paths as shells have them: `*`, `?` and `[a-z]` within a name, `**` for folders at any depth. */

const isPattern = (text: string): boolean => /[*?[]/.test(text);
const anyDepth = '**';

/**
 * What a path of the command line names: the one thing that is called so, else what it matches as a pattern. Links within a pattern are not
 * followed. NOT_FOUND when there is nothing.
 */
export async function findMatching(tree: MergedTree, path: string): Promise<FoundNode<MergedNode>[]> {
  try {
    return [await lookUp(tree, unescapePath(path), false)];
  } catch (error) {
    const isMissing = error instanceof SeekableErofsError && error.code === 'NOT_FOUND';
    if (!isMissing || !isPattern(path)) throw error;
  }
  const parts = path.split('/').filter((part) => part !== '');
  const literal = parts.findIndex(isPattern);
  const start = unescapePath(`/${parts.slice(0, literal).join('/')}`);
  const found = new Map<string, FoundNode<MergedNode>>();
  const root = await lookUp(tree, start, true);
  for await (const match of expand(tree, root, parts.slice(literal))) found.set(match.path, match);
  if (found.size === 0) throw failure('NOT_FOUND', path, 'nothing in the image matches it');
  return [...found.values()];
}

async function* expand(
  tree: MergedTree,
  found: FoundNode<MergedNode>,
  [part, ...rest]: string[],
): AsyncGenerator<FoundNode<MergedNode>> {
  if (part === undefined) {
    yield found;
    return;
  }
  if (part === anyDepth) yield* expand(tree, found, rest);
  if (found.node.inode.type !== 'dir') return;
  const matches = part === anyDepth ? null : nameMatcher(part);
  for await (const child of childrenOf(tree, found)) {
    const name = child.path.slice(child.path.lastIndexOf('/') + 1);
    if (matches === null && child.node.inode.type === 'dir') yield* expand(tree, child, [anyDepth, ...rest]);
    if (matches?.test(name) === true) yield* expand(tree, child, rest);
  }
}

async function* childrenOf(
  tree: MergedTree,
  found: FoundNode<MergedNode>,
): AsyncGenerator<FoundNode<MergedNode>> {
  for await (const { path, node } of walkTree(tree, found, { depth: 1 })) {
    if (path !== found.path) yield { path, node, parents: [...found.parents, found.node] };
  }
}

/** Matches names as byte strings. A name's own `*` is written `\x2a`, and so for the others. */
function nameMatcher(part: string): RegExp {
  const bytes = (text: string): string => unescapePath(text).toString('latin1');
  const literal = (text: string): string => bytes(text).replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
  const pieces = part.match(/\*+|\?|\[[!^]?\]?[^\]]*\]|(?:\\x[0-9a-fA-F]{2}|[^*?[])+|\[/g) ?? [];
  const source = pieces.map((piece) => {
    if (piece.startsWith('*')) return '[^]*';
    if (piece === '?') return '[^]';
    if (!piece.startsWith('[') || piece === '[') return literal(piece);
    const [, not, set = ''] = /^\[([!^]?)([^]*)\]$/.exec(piece)!;
    return `[${not === '' ? '' : '^'}${bytes(set).replace(/[\\^\][]/g, '\\$&')}]`;
  });
  try {
    return new RegExp(`^${source.join('')}$`);
  } catch {
    throw failure(
      'USAGE',
      part,
      'it is no pattern of names',
      'write [, * and ? themselves as \\x5b, \\x2a, \\x3f',
    );
  }
}
