import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { convertImage } from '../../src/convert/image';
import { run } from '../../src/cli/program';
import { Capture } from '../cli/capture';
import { planConversion, type ConversionPlan } from '../../src/convert/plan';
import { makeTar, noise, writeLayout } from '../e2e/sample';

let root: string;
let source: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'plan-'));
  const tars = await Promise.all(
    [1, 2].map((i) => makeTar([{ name: `file-${i}`, content: noise(300_000, `layer ${i}`) }])),
  );
  source = `oci:${join(root, 'src')}:app`;
  await writeLayout(join(root, 'src'), [...tars, tars[0]!], { ref: 'app' });
});
afterAll(() => rm(root, { recursive: true }));

const actions = ({ manifests }: ConversionPlan): string[] =>
  manifests.flatMap(({ layers }) => layers.map(({ action }) => action));

/** Every name below the folder, to see that none was added. */
async function names(): Promise<string[]> {
  return (await readdir(root, { recursive: true })).sort();
}

test('layers are converted once, and nothing is written', async () => {
  const before = await names();
  const plan = await planConversion(source, `oci:${join(root, 'new')}:app`, {
    cache: join(root, 'no-cache'),
  });
  expect(actions(plan)).toEqual(['convert', 'convert', 'none']);
  const [first, second] = plan.manifests[0]!.layers;
  expect(plan.total).toMatchObject({ convert: 2, reuse: 0, keep: 0, bytesRead: first!.size + second!.size });
  expect(plan.total.seconds).toBeGreaterThan(0);
  expect(await names()).toEqual(before);
});

test('what a cache has is reused, what is as asked for is kept; the sizes are those that are written then', async () => {
  const cache = join(root, 'cache');
  const converted = await convertImage(source, `oci:${join(root, 'made')}:app`, { cache });
  const before = await names();
  const again = await planConversion(source, `oci:${join(root, 'other')}:app`, { cache });
  expect(actions(again)).toEqual(['reuse', 'reuse', 'none']);
  expect(again.total).toMatchObject({
    reuse: 2,
    bytesRead: 0,
    bytesWritten: converted.summary.bytesOut,
    seconds: 0,
  });
  const there = await planConversion(source, `oci:${join(root, 'made')}:v2`, { cache });
  expect(there.total.bytesWritten).toBe(0);
  const made = `oci:${join(root, 'made')}:app`;
  const passed = await planConversion(made, `oci:${join(root, 'other')}:app`);
  expect(actions(passed)).toEqual(['keep', 'keep', 'none']);
  const changed = await planConversion(made, `oci:${join(root, 'other')}:app`, { dmVerity: true });
  expect(actions(changed)).toEqual(['convert', 'convert', 'none']);
  expect(await names()).toEqual(before);
});

test('a layer content cache is asked by DiffID', async () => {
  const cache = `erofs-cache:${join(root, 'erofs-cache')}`;
  expect(actions(await planConversion(source, cache))).toEqual(['convert', 'convert', 'none']);
  await convertImage(source, cache);
  expect(actions(await planConversion(source, cache))).toEqual(['reuse', 'reuse', 'none']);
  expect(actions(await planConversion(source, cache, { dmVerity: true }))).toEqual([
    'convert',
    'convert',
    'none',
  ]);
});

test('what convertImage() would refuse is refused', async () => {
  const refused = planConversion(source, `erofs-cache:${join(root, 'x')}`, { appendToIndex: true });
  await expect(refused).rejects.toMatchObject({ code: 'USAGE' });
  await expect(planConversion(`oci:${join(root, 'nothing')}`, 'oci:x')).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
});

test('convert --dry-run shows it', async () => {
  const [stdout, stderr] = [new Capture(), new Capture()];
  const destination = join(root, 'shown');
  expect(await run(['convert', source, `oci:${destination}:app`, '--dry-run'], { stdout, stderr })).toBe(0);
  expect(stderr.text).toBe('');
  expect(stdout.lines[0]).toMatch(/^linux\/\w+ sha256:[0-9a-f]{12}$/);
  expect(stdout.lines[1]).toMatch(/^ {2}sha256:[0-9a-f]{12} {2}[\d.]+ kB {2}convert +about [\d.]+ kB$/);
  expect(stdout.lines[3]).toMatch(/the same as one above$/);
  expect(stdout.lines[4]).toMatch(
    /^2 layers to convert: reads [\d.]+ kB of oci:.*, writes about [\d.]+ kB to oci:/,
  );
  expect(await names()).not.toContain('shown');
});
