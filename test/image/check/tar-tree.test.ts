import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readdirSync, writeFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { SeekableErofsError } from '../../../src/errors';
import { EntryTable, root } from '../../../src/image/check/entry-table';
import { TarTree } from '../../../src/image/check/tar-tree';
import { showBytes } from '../../../src/format/escaped-path';
import type { TreeNode } from '../../../src/image/check/tree-node';
import { native } from '../../../src/native/binding';
import { readTarEntries } from '../../../src/native/tar-entries';

const vectors = join(__dirname, '../../golden/tar');
const folder = mkdtempSync(join(tmpdir(), 'tar-tree-'));
const tables: EntryTable[] = [];
afterAll(async () => {
  for (const table of tables) await table.close();
  rmSync(folder, { recursive: true });
});

async function treeOf(tar: Buffer): Promise<EntryTable> {
  const path = join(folder, 'layer.tar');
  writeFileSync(path, tar);
  const fd = openSync(path, 'r');
  const table = new EntryTable();
  tables.push(table);
  try {
    const source = new native.Source({ fd, offset: 0, size: tar.length, name: path });
    const tree = new TarTree(table);
    for await (const entries of readTarEntries(source, {}))
      entries.forEach((entry) => {
        tree.add(entry);
      });
    await tree.finish();
    return table;
  } finally {
    closeSync(fd);
  }
}

/** A tree in the words of test/golden/tar/expected. */
async function listing(table: EntryTable, tar: Buffer): Promise<string[]> {
  const entries: { path: string; entry: number }[] = [];
  const holdWhiteouts = new Set<number>();
  await table.forEach((entry) => {
    entries.push({ path: entry === root ? '' : table.pathOf(entry), entry });
    if (isWhiteout(table, entry)) holdWhiteouts.add(table.folderOf(entry));
  });
  const firstNames = new Map<number, string>();
  return entries
    .sort((a, b) => (a.path < b.path ? -1 : 1))
    .map(({ path, entry }) => {
      const node = table.nodeOf(entry);
      const first = firstNames.get(node);
      if (first === undefined) firstNames.set(node, path);
      const link = first === undefined ? '' : ` = ${showBytes(first)}`;
      const shown = showBytes(path === '' ? '/' : path);
      const described = describeNode(table.read(node), table.linksOf(node), tar);
      return `${shown}: ${described}${link}${xattrsOf(table.read(node), holdWhiteouts.has(node))}`;
    });
}

function describeNode(node: TreeNode, links: number, tar: Buffer): string {
  const { type, uid, gid, seconds, nanoseconds, major, minor, target } = node;
  const mode = node.mode.toString(8).padStart(4, '0');
  const time = `${seconds}.${String(nanoseconds).padStart(9, '0')}`;
  const kind = { char: 'chr', block: 'blk' }[type as string] ?? type;
  const common = `${kind} ${mode} ${uid}:${gid} ${time} nlink ${links}`;
  if (type === 'file') return `${common} size ${node.size} sha256 ${sha256(contentOf(node, tar))}`;
  if (type === 'symlink') return `${common} -> ${showBytes(target)}`;
  return type === 'char' || type === 'block' ? `${common} ${major}:${minor}` : common;
}

function xattrsOf({ xattrs }: TreeNode, holdsWhiteout: boolean): string {
  const all = new Map(xattrs);
  // Only the builder adds it, and comparisons ignore it.
  if (holdsWhiteout) all.set('trusted.overlay.origin', '');
  const sorted = [...all].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted
    .map(([name, value]) => ` ${showBytes(name)}=${Buffer.from(value, 'latin1').toString('hex')}`)
    .join('');
}

/** One that a whiteout of the tar made: explicit character devices 0:0 have the mtime of their entry. */
function isWhiteout(table: EntryTable, entry: number): boolean {
  const { type, major, minor, mode } = table.read(table.nodeOf(entry));
  return type === 'char' && major === 0 && minor === 0 && mode === 0 && !table.isNamed(table.nodeOf(entry));
}

function contentOf({ size, data }: TreeNode, tar: Buffer): Buffer {
  const bytes = Buffer.alloc(size);
  for (let i = 0; i < data.length; i += 3) {
    const [at, from, length] = data.slice(i, i + 3) as [number, number, number];
    tar.copy(bytes, at, from, from + length);
  }
  return bytes;
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

const names = readdirSync(vectors).filter((name) => name.endsWith('.tar.gz'));

describe('the tree that the policy makes of a tar', () => {
  it('has all the vectors to compare', () => {
    expect(names.length).toBeGreaterThanOrEqual(76);
  });

  for (const file of names) {
    const name = file.slice(0, -'.tar.gz'.length);
    it(`is what ${name} should be`, async () => {
      const tar = gunzipSync(readFileSync(join(vectors, file)));
      const [first, ...lines] = readFileSync(join(vectors, 'expected', `${name}.txt`), 'utf8')
        .trimEnd()
        .split('\n');
      if (!first!.startsWith('error: ')) {
        expect(await listing(await treeOf(tar), tar)).toEqual(lines);
        return;
      }
      const error = await treeOf(tar).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(SeekableErofsError);
      const { code, what, exitCode } = error as SeekableErofsError;
      expect(exitCode).toBe(3);
      // The words differ from the builder's, but not whom they blame and for what kind of fault.
      const [, expectedCode, expectedWhat] = /^error: ([A-Z]+) (.*?):( |$)/.exec(first!) ?? [];
      if (expectedCode !== undefined) expect(`${code} ${what}`).toBe(`${expectedCode} ${expectedWhat!}`);
    });
  }
});
