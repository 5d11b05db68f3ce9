import { mkdir, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { inspect } from '../../../src/image/inspect';
import { verifyImage } from '../../../src/image/verify';
import { run, titleOf, whyNoMounts } from '../../conformance/support/machine';
import { makeTar, writeLayout } from '../../e2e/sample';
import { caught } from '../../support/caught';

const mebibyte = 1 << 20;

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return { ...real, statfs: vi.fn(real.statfs) };
});

let root: string;
let archive: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'archive-bomb-'));
  archive = join(root, 'bomb.tar.gz');
  await writeFile(
    archive,
    gzipSync(await makeTar([{ name: 'zeros', content: Buffer.alloc(64 * mebibyte) }])),
  );
});
afterAll(() => rm(root, { recursive: true }));
afterEach(() => vi.mocked(statfs).mockReset());

/** A disk of so many bytes of which 3 MiB less are free at each look; returns how often it was looked at. */
function fillingDisk(size: number, free: number): () => number {
  let looks = 0;
  vi.mocked(statfs).mockImplementation((async () => ({
    bsize: 4096,
    blocks: size / 4096,
    bavail: (free - 3 * mebibyte * looks++) / 4096,
  })) as unknown as typeof statfs);
  return () => looks;
}

describe('an archive that unpacks to more than the disk has room for', () => {
  test.each([
    ['5 % of a small disk', 400 * mebibyte, 20 * mebibyte],
    ['1 GiB of a large one', 2 ** 42, 1024 * mebibyte],
  ])('is given up when less than %s would be left', async (_, size, least) => {
    const looks = fillingDisk(size, least + 10 * mebibyte);
    const error = await caught(() => inspect(`oci-archive:${archive}`));
    expect(error).toMatchObject({ code: 'NO_SPACE', what: archive });
    expect(error.why).toContain(`${least} must stay free`);
    expect(looks()).toBe(5);
  });

  test('is unpacked where there is room', async () => {
    const looks = fillingDisk(2 ** 42, 2 ** 41);
    expect((await caught(() => inspect(`oci-archive:${archive}`))).code).not.toBe('NO_SPACE');
    expect(looks()).toBeGreaterThan(50);
  });
});

const reason = whyNoMounts();
test.skipIf(reason !== null)(
  titleOf('a layer that unpacks to more than its disk has room for is given up as well', reason),
  async () => {
    const disk = join(root, 'disk');
    const layout = join(root, 'layout');
    await mkdir(disk);
    await writeLayout(layout, [await makeTar([{ name: 'zeros', content: Buffer.alloc(64 * mebibyte) }])]);
    run('mount', ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', disk]);
    try {
      const outcome = await verifyImage(`oci:${layout}`, { tmpDir: disk }).catch((error: unknown) => error);
      expect(JSON.stringify(outcome) + String(outcome)).toContain('must stay free');
    } finally {
      run('umount', [disk]);
    }
  },
);
