import { existsSync, readdirSync, statSync } from 'node:fs';
import { cp, mkdir, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { documentOf } from '../e2e/run-cli';
import { makeTar, noise } from '../e2e/sample';
import { at, folder, useFolders } from '../e2e/workspace';
import { LayoutBuilder } from './support/image';
import { checkCleanLayout, checkLayout, looksLikeLayout } from './support/layout-check';
import { startCli } from './support/running';

// The claim: whenever a conversion is killed, the layout is valid, what was in it works, and the next run cleans up.

useFolders();

const kills = 15;
const seed = Number(process.env['KILL_SEED'] ?? Date.now() % 2 ** 31);

/** The same numbers in [0, 1) for the same seed (mulberry32). */
function randomNumbers(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Many small layers and a large one: moving blobs to their places takes a while too. */
const layers = Promise.all([
  makeTar([
    { name: 'large', content: Buffer.concat([noise(2_000_000, 'l'), Buffer.alloc(4_000_000, 'text')]) },
  ]),
  ...Array.from({ length: 30 }, (_, i) => makeTar([{ name: `file-${i}`, content: noise(5000, `${i}`) }])),
]);

async function writeImage(dir: string, name: string, tars: Buffer[]): Promise<void> {
  const layout = new LayoutBuilder(dir);
  layout.name(layout.image(tars.map((tar) => layout.tarLayer(tar))), name);
}

beforeEach(async () => {
  await writeImage(at('source'), 'image', await layers);
  await documentOf(['convert', 'oci:source', 'oci:old:old', '--dm-verity'], { cwd: folder });
});

const convert = ['convert', 'oci:source', 'oci:layout:new'];

/** What can be seen of a run in the layout, as numbers that change when it gets there. */
const milestones: [name: string, state: () => number][] = [
  ['its workspace', () => Number(existsSync(at('layout/.seekable-erofs')))],
  ['its first blob', () => Math.min(1, newBlobs())],
  ['its tenth blob', () => Math.min(10, newBlobs())],
  ['index.json', () => statSync(at('layout/index.json'), { throwIfNoEntry: false })?.ino ?? 0],
];
let blobsBefore = 0;

function newBlobs(): number {
  const blobs = at('layout/blobs/sha256');
  return existsSync(blobs) ? readdirSync(blobs).length - blobsBefore : 0;
}

/** A moment in the run: somewhere in the time that it takes, or just after a milestone. */
async function moment(random: () => number, duration: number, isOver: () => boolean): Promise<string> {
  const milestone = milestones[Math.floor(random() * milestones.length * 2)];
  const wait = milestone === undefined ? random() * duration * 1.1 : random() * 5;
  if (milestone !== undefined) {
    const [, state] = milestone;
    const before = state();
    while (state() === before && !isOver()) await sleep(1);
  }
  await sleep(wait);
  return `${wait.toFixed(1)} ms after ${milestone?.[0] ?? 'the start'}`;
}

/** Kills a run at such a moment, unless it ends before. */
async function killAt(random: () => number, duration: number): Promise<{ when: string; killed: boolean }> {
  const { child, ended } = startCli(convert, folder);
  let isOver = false;
  void ended.then(() => (isOver = true));
  blobsBefore += newBlobs();
  const when = await moment(random, duration, () => isOver);
  child.kill('SIGKILL');
  return { when, killed: (await ended).signal === 'SIGKILL' };
}

describe.each([
  ['a new layout', false],
  ['a layout with another image', true],
])('a conversion into %s', (_title, hasOld) => {
  const expectValid = async (when: string): Promise<void> => {
    if (!hasOld && !looksLikeLayout(at('layout'))) return;
    const { names } = checkLayout(at('layout'));
    expect(
      names.filter((name) => name !== 'new'),
      when,
    ).toEqual(hasOld ? ['old'] : []);
    for (const name of names)
      expect(await documentOf(['verify', `oci:layout:${name}`], { cwd: folder }), when).toMatchObject({
        ok: true,
      });
  };

  const prepare = async (): Promise<void> => {
    await rm(at('layout'), { recursive: true, force: true });
    if (hasOld) await cp(at('old'), at('layout'), { recursive: true });
  };

  test(`survives ${kills} kills (KILL_SEED=${seed})`, { timeout: 600_000 }, async () => {
    console.info(`KILL_SEED=${seed}`);
    const random = randomNumbers(seed + Number(hasOld));
    await prepare();
    const started = performance.now();
    const { digest } = await documentOf<{ digest: string }>(convert, { cwd: folder });
    const duration = performance.now() - started;
    const whens: string[] = [];
    for (let i = 0; whens.length < kills && i < 3 * kills; i++) {
      await prepare();
      const { when, killed } = await killAt(random, duration);
      if (killed) whens.push(when);
      await expectValid(when);
      expect(await documentOf(convert, { cwd: folder }), when).toMatchObject({ digest });
      expect(checkCleanLayout(at('layout')), when).toEqual(hasOld ? ['new', 'old'] : ['new']);
    }
    expect(whens.length).toBe(kills);
  });

  test('survives kills one after the other, without a run between them', async () => {
    const random = randomNumbers(seed + 2 + Number(hasOld));
    await prepare();
    for (let i = 0; i < 5; i++) {
      const { when } = await killAt(random, 600);
      await expectValid(when);
    }
    await documentOf(convert, { cwd: folder });
    expect(checkCleanLayout(at('layout'))).toEqual(hasOld ? ['new', 'old'] : ['new']);
  });
});

test('a killed writer of an archive leaves the old one, and the next run works', async () => {
  await mkdir(at('tmp'));
  const args = ['convert', 'oci:source', 'oci-archive:out.tar:new', '--tmp-dir', 'tmp'];
  const { digest } = await documentOf<{ digest: string }>(args, { cwd: folder });
  const running = startCli([...args, '--progress', 'json', '--level', '15'], folder);
  await running.saw(/"phase":"encode"/);
  running.child.kill('SIGKILL');
  await running.ended;
  expect(readdirSync(at('tmp'))).toEqual([]);
  expect(await documentOf(['verify', 'oci-archive:out.tar:new'], { cwd: folder })).toMatchObject({
    ok: true,
  });
  expect(await documentOf(args, { cwd: folder })).toMatchObject({ digest });
});
