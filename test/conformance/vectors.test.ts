import { readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SeekableErofsError } from '../../src/errors';
import { at } from '../e2e/workspace';
import { vectorFiles, type ExpectedEntry } from '../support/vectors/files';
import { titleOf, whyNoMounts } from './support/machine';
import { expectNothingLeft, library, root, state, useMounts, walk } from './support/mounting';

// The claim: images that follow the draft EROFS image specification are read, mounted and extracted as what they are, each rule that it has
// is held, and what breaks one is refused by its name. The images are those of vectors/, made by a writer of its own.

const folder = join(root, 'vectors');
const { verifyImage, listImage, extractImage, mountImage, unmountImage } = library;

interface Vector {
  name: string;
  about: string;
  verdict: 'accept' | 'refuse';
  rule?: string;
  needs?: string;
  diffIds: string[];
  tree: ExpectedEntry[];
}

const vectors = JSON.parse(readFileSync(join(folder, 'vectors.json'), 'utf8')) as Vector[];
const good = vectors.filter(({ verdict }) => verdict === 'accept');
const bad = vectors.filter(({ verdict }) => verdict === 'refuse');
const reference = (name: string): string => `oci:${join(folder, 'layout')}:${name}`;
// Some layers have no index that can be read: their digests vouch for them.
const anyLayer = { allowUnverified: true };

useMounts();

/** What walk() and the vectors both say of an entry. */
function comparable(entry: Record<string, unknown>): Record<string, unknown> {
  const { path, type, mode, uid, gid, xattrs, sha256 = null, target = null } = entry;
  return { path, type, mode: type === 'symlink' ? null : mode, uid, gid, xattrs, sha256, target };
}

const expectedOf = ({ tree }: Vector) => tree.map((entry) => comparable({ ...entry }));
const foundAt = (dir: string) => [...walk(dir).values()].map(comparable);
const byPath = (a: { path?: unknown }, b: { path?: unknown }): number =>
  String(a.path) < String(b.path) ? -1 : 1;

describe('vectors/', () => {
  it('has what its writer makes', () => {
    const files = vectorFiles();
    const found = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name !== 'README.md')
      .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
    expect(found.sort()).toEqual([...files.keys()].sort());
    for (const [path, bytes] of files)
      expect(readFileSync(join(folder, path)).equals(bytes), path).toBe(true);
  });
});

describe.each(good.map((vector) => [vector.name, vector] as const))('%s', (name, vector) => {
  it(`is read: ${vector.about}`, async () => {
    const verified = await verifyImage(reference(name), anyLayer);
    expect(verified).toMatchObject({ ok: true });
    expect(verified.layers.map(({ diffId }) => diffId)).toEqual(vector.diffIds);
    const listed = await listImage(reference(name), '/', { ...anyLayer, recursive: true });
    const tree = listed.map((entry) => ({ ...comparable({ ...entry }), sha256: null }));
    expect(tree).toEqual(expectedOf(vector).map((entry) => ({ ...entry, sha256: null })));
    const sizes = listed.map(({ type, size }) => (type === 'dir' ? 0 : size));
    expect(sizes).toEqual(vector.tree.map(({ size }) => size));
    await extractImage(reference(name), at('tree'), anyLayer);
    expect(foundAt(at('tree'))).toEqual(expectedOf(vector));
    rmSync(at('tree'), { recursive: true });
  });
});

const reason = whyNoMounts();

describe.skipIf(reason !== null)(titleOf('the kernel', reason), () => {
  it.each(good.map((vector) => [vector.name, vector] as const))(
    'shows the tree of %s',
    async (name, vector) => {
      await mountImage(reference(name), at('target'), { ...anyLayer, state });
      try {
        expect(foundAt(at('target')).sort(byPath)).toEqual(expectedOf(vector));
      } finally {
        await unmountImage(at('target'), { state });
      }
      await expectNothingLeft();
    },
  );

  it.each(bad.map((vector) => [vector.name, vector] as const))('is not given %s', async (name, vector) => {
    const mounting = mountImage(reference(name), at('target'), { ...anyLayer, state });
    await expect(mounting).rejects.toMatchObject({ exitCode: 3 });
    await mounting.catch((error: unknown) => {
      expectRule(error, vector);
    });
    await expectNothingLeft();
  });
});

/** Rules of composition are named; what is wrong with a blob is told by its own words. */
function expectRule(error: unknown, { rule = '' }: Vector): void {
  if (['chunk-index', 'digest', 'dm-verity'].includes(rule)) return;
  expect((error as SeekableErofsError).message).toContain(`breaks the rule "${rule}"`);
}

describe.each(bad.map((vector) => [vector.name, vector] as const))('%s', (name, vector) => {
  it(`is refused: ${vector.about}`, async () => {
    const verdict = await verifyImage(reference(name), anyLayer).catch((error: unknown) => {
      expect(error).toMatchObject({ exitCode: 3 });
      expectRule(error, vector);
      return null;
    });
    if (verdict === null) return;
    expect(verdict.ok).toBe(false);
    const [line = ''] = verdict.layers.flatMap(({ error }) => error ?? []);
    expectRule(new Error(line), vector);
  });
});
