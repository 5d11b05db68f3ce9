import { readdirSync, writeFileSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { documentOf, runCli } from '../e2e/run-cli';
import { at } from '../e2e/workspace';
import { titleOf, whyNoMounts } from './support/machine';
import {
  expectNothingLeft,
  library,
  mountByLoop,
  options,
  state,
  threeLayers,
  useMounts,
  writeImage,
} from './support/mounting';

// The claim: records of mounts that were emptied are in nobody's way, and what they told of can be undone all the same.

useMounts();

const reason = whyNoMounts();
const { mountImage } = library;

/** Empties all records of a kind. */
function lose(kind: 'mounts' | 'layers'): void {
  const names = readdirSync(at(`state/${kind}`), { recursive: true, encoding: 'utf8' });
  const records = names.filter((name) => /(^|\/)(layer|[0-9a-f]{64})\.json$/.test(name));
  expect(records.length).toBeGreaterThan(0);
  for (const name of records) writeFileSync(at(`state/${kind}/${name}`), '');
}

describe.skipIf(reason !== null)(titleOf('emptied records', reason), () => {
  let one: string;
  let three: string;
  beforeEach(async () => {
    one = await writeImage('one', [threeLayers[0]!]);
    three = await writeImage('three', threeLayers);
  });
  const flags = () => ['--state', state];

  test('what is mounted is listed, and umount undoes it', async () => {
    await mountImage(one, at('single'), options());
    await mountByLoop(three, at('overlay'));
    lose('mounts');
    lose('layers');
    expect(await documentOf(['mounts', ...flags()])).toEqual([
      { target: at('overlay'), layers: [] },
      { target: at('single'), layers: [] },
    ]);
    expect((await runCli(['mounts', ...flags()])).stdout.toString()).toMatch(/record of it was lost/);
    await expect(mountImage(one, at('single'), options())).rejects.toThrow('already');
    expect(await documentOf(['umount', at('single'), ...flags()])).toMatchObject({ undone: ['erofs'] });
    expect(await documentOf(['umount', at('overlay'), ...flags()])).toMatchObject({
      undone: expect.arrayContaining(['overlay']) as string[],
    });
    await expectNothingLeft();
  });

  test('doctor --repair undoes it', async () => {
    await mountImage(one, at('single'), options());
    await mountImage(three, at('overlay'), options());
    lose('mounts');
    const { repaired } = await documentOf<{ repaired: { target: string }[] }>([
      'doctor',
      '--repair',
      ...flags(),
    ]);
    expect(repaired.map(({ target }) => target)).toEqual([at('overlay'), at('single')]);
    await expectNothingLeft();
  });

  test('of mounts that are gone, doctor --repair removes them; a mount there works', async () => {
    await mountImage(one, at('single'), options());
    await documentOf(['umount', at('single'), ...flags()]);
    writeFileSync(at(`state/mounts/${'0'.repeat(64)}.json`), '');
    expect(await documentOf(['mounts', ...flags()])).toEqual([]);
    await mountImage(one, at('single'), options());
    await documentOf(['doctor', '--repair', ...flags()]);
    expect(readdirSync(at('state/mounts'))).toHaveLength(1);
    await documentOf(['umount', at('single'), ...flags()]);
    await expectNothingLeft();
  });
});

describe.skipIf(reason !== null)(titleOf('without root', reason), () => {
  test('mounts are listed', async () => {
    await mountImage(await writeImage('one', [threeLayers[0]!]), at('single'), options());
    const { exitCode, stdout, stderr } = await runCli(['mounts', '--json', '--state', state], {
      uid: 65_534,
    });
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout.toString())).toEqual(await library.listMounts({ state }));
    await library.unmountImage(at('single'), { state });
  });
});
