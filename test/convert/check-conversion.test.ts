import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { convertImage } from '../../src/convert/image';
import { checkImage } from '../../src/image/check/check';
import { makeTar, noise, writeLayout } from '../e2e/sample';
import { caught } from '../support/caught';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'check-conversion-'));
  const tars = await Promise.all(
    ['one', 'two'].map((name) => makeTar([{ name, content: noise(30_000, name) }])),
  );
  await writeLayout(join(root, 'src'), tars, { compress: true, ref: 'app' });
});
afterAll(() => rm(root, { recursive: true }));
const from = (): string => `oci:${join(root, 'src')}:app`;

describe('convert --check', () => {
  for (const [name, options] of Object.entries({
    'profile containerd': { dmVerity: true },
    'profile erofs-image-spec, indexes of their own': {
      profile: 'erofs-image-spec',
      index: 'standalone',
    },
    'an index that is appended to': { appendToIndex: true },
  } as const)) {
    for (const kind of ['oci', 'oci-archive'] as const) {
      test(`${name}, ${kind}: what is right is written`, async () => {
        const to = `${kind}:${join(root, `${name}.${kind}`)}:app`;
        const { digest } = await convertImage(from(), to, { ...options, check: true });
        expect(digest).toMatch(/^sha256:/);
        expect((await checkImage(from(), to)).ok).toBe(true);
      });
    }
  }

  test('an image that lost something is not named, and nothing is left of it', async () => {
    const cache = join(root, 'cache');
    await convertImage(from(), `oci:${join(root, 'first')}:app`, { cache });
    await swapEntries(cache);
    const wrong = `oci:${join(root, 'wrong')}:app`;
    await convertImage(from(), wrong, { cache });
    expect((await checkImage(from(), wrong)).ok).toBe(false);
    const error = await caught(() =>
      convertImage(from(), `oci:${join(root, 'checked')}:app`, { cache, check: true }),
    );
    expect(error).toMatchObject({
      code: 'MISMATCH',
      why: expect.stringContaining('/one of layer 0') as string,
    });
    expect(existsSync(join(root, 'checked'))).toBe(false);
  });

  test('has no effect on a cache of layers, which has no image to name', async () => {
    const error = await caught(() => convertImage(from(), `erofs-cache:${join(root, 'x')}`, { check: true }));
    expect(error).toMatchObject({ code: 'USAGE' });
  });
});

/** Each of the two layers that a cache has is in the place of the other. */
async function swapEntries(cache: string): Promise<void> {
  const version = join(
    cache,
    (await readdir(cache)).find((name) => name.startsWith('v'))!,
  );
  const entries: string[] = [];
  for (const folder of await readdir(version)) {
    for (const name of await readdir(join(version, folder))) entries.push(join(version, folder, name));
  }
  const [first, second] = entries as [string, string];
  await rename(first, join(root, 'aside'));
  await rename(second, first);
  await rename(join(root, 'aside'), second);
}
