import { lstat, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { convertImage } from '../../../src/convert/image';
import { inspect } from '../../../src/image/inspect';
import { verifyImage } from '../../../src/image/verify';
import { blobPath, filesUnder, makeTar, writeLayout } from '../../e2e/sample';
import { caught } from '../../support/caught';

let root: string;
let layout: string;
let source: string;
let layer: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'layout-links-'));
  [layout, source] = [join(root, 'layout'), join(root, 'source')];
  await writeLayout(source, [await makeTar([{ name: 'other', content: 'other' }])]);
  [layer = ''] = await writeLayout(layout, [await makeTar([{ name: 'file', content: 'content' }])]);
  await mkdir(join(root, 'elsewhere'));
});
afterEach(() => rm(root, { recursive: true }));

/** Puts a link in the place of a layout's file or folder, which it then points to. */
async function linked(path: string): Promise<void> {
  const away = join(root, 'elsewhere', 'target');
  await rename(join(layout, path), away);
  await symlink(away, join(layout, path));
}

const ref = (): string => `oci:${layout}`;
const reading = {
  inspect: () => inspect(ref()),
  verify: () => verifyImage(ref()),
  convert: () => convertImage(ref(), `oci:${join(root, 'out')}:x`),
};

describe('a symbolic link in a layout is not followed', () => {
  const places = ['index.json', 'oci-layout', 'blobs', 'blobs/sha256'];
  test.each(places.flatMap((place) => Object.keys(reading).map((how) => ({ place, how }))))(
    '$place, by $how',
    async ({ place, how }) => {
      await linked(place);
      const error = await caught(reading[how as keyof typeof reading]);
      expect(error).toMatchObject({ code: 'USAGE', message: expect.stringContaining('link') as string });
    },
  );

  test('index.json, whose target nothing is printed of', async () => {
    await rm(join(layout, 'index.json'));
    await writeFile(join(root, 'shadow'), 'root:$6$secret');
    await symlink(join(root, 'shadow'), join(layout, 'index.json'));
    const error = await caught(() => inspect(ref()));
    expect(`${error.message} ${error.hint}`).not.toMatch(/root:|secret/);
  });

  test('a blob', async () => {
    await linked(blobPath('', layer));
    expect((await caught(() => convertImage(ref(), `oci:${join(root, 'out')}:x`))).code).toBe('USAGE');
  });
});

describe('a layout is not written through a symbolic link', () => {
  test.each(['blobs', 'blobs/sha256'])('%s', async (place) => {
    await linked(place);
    const before = await filesUnder(join(root, 'elsewhere'));
    expect((await caught(() => convertImage(`oci:${source}`, `${ref()}:new`))).code).toBe('USAGE');
    expect(await filesUnder(join(root, 'elsewhere'))).toEqual(before);
    expect((await lstat(join(layout, place))).isSymbolicLink()).toBe(true);
  });

  test('that is in a place of a blob: it gives way to the blob', async () => {
    const { manifests } = await convertImage(`oci:${source}`, `${ref()}:new`);
    const digest = manifests[0]!.layers[0]!.digest; // the manifest's own is read before: whose name is it?
    const bytes = await readFile(blobPath(layout, digest!));
    await linked(blobPath('', digest!));
    await convertImage(`oci:${source}`, `${ref()}:new`);
    expect((await lstat(blobPath(layout, digest!))).isFile()).toBe(true);
    expect(await readFile(blobPath(layout, digest!))).toEqual(bytes);
  });

  test('the folder of the layout itself may be one', async () => {
    await symlink(layout, join(root, 'named'));
    const named = `oci:${join(root, 'named')}`;
    await convertImage(`oci:${source}`, `${named}:new`);
    expect((await verifyImage(`${named}:new`)).ok).toBe(true);
  });
});
