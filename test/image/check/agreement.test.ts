import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SeekableErofsError } from '../../../src/errors';
import { checkImage } from '../../../src/image/check/check';
import { buildErofs } from '../../../src/layer/build';
import { randomEntries } from '../../support/random-tar';
import { tarBytes } from '../../support/tar-bytes';

const vectors = join(__dirname, '../../golden/tar');
const folder = mkdtempSync(join(tmpdir(), 'check-random-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** What went wrong, and with which entry. */
async function failureOf(work: Promise<unknown>): Promise<string | null> {
  try {
    await work;
    return null;
  } catch (error) {
    if (!(error instanceof SeekableErofsError)) throw error;
    return `${error.code} ${error.what}`.slice(0, 200); // long names are cut in different places
  }
}

/** True when both know what to make of a tar, and it is the same; false when both refuse it, for the same entry. */
async function agreeOn(tar: string, what: string): Promise<boolean> {
  const image = join(folder, 'layer.erofs');
  const refused = await failureOf(buildErofs(tar, image));
  if (refused === null) {
    expect((await checkImage(tar, image)).differences, what).toEqual([]);
  } else {
    expect(await failureOf(checkImage(tar, join(folder, 'empty.erofs'))), what).toBe(refused);
  }
  return refused === null;
}

describe('builder and oracle', () => {
  // More: CHECK_SEED=1000 CHECK_CASES=20000 npx vitest run test/image/check/agreement.test.ts
  const first = Number(process.env['CHECK_SEED'] ?? 1);
  const count = Number(process.env['CHECK_CASES'] ?? 250);

  beforeAll(async () => {
    writeFileSync(join(folder, 'empty.tar'), tarBytes([]));
    await buildErofs(join(folder, 'empty.tar'), join(folder, 'empty.erofs'));
  });

  it(`agree on ${count} random tars`, async () => {
    const tar = join(folder, 'layer.tar');
    let built = 0;
    for (let seed = first; seed < first + count; seed++) {
      const entries = randomEntries(seed);
      writeFileSync(tar, tarBytes(entries));
      if (await agreeOn(tar, `seed ${seed}: ${JSON.stringify(entries, null, 1)}`)) built++;
    }
    expect(built).toBeGreaterThan(count / 5);
  });

  it.each(readdirSync(vectors).filter((name) => name.endsWith('.tar.gz')))('agree on %s', async (name) => {
    await agreeOn(join(vectors, name), name);
  });
});
