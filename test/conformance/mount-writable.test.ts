import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { at } from '../e2e/workspace';
import { refusal } from '../support/refusal';
import { watchedSteps } from '../support/watched-steps.mjs';
import { titleOf, whyNoMounts } from './support/machine';
import {
  expectNothingLeft,
  library,
  mountBy,
  options,
  threeLayers,
  useMounts,
  writeImage,
} from './support/mounting';

// The claim: what is written to a writable mount goes to the folder that was named, and to no other one, whoever else owns it.

useMounts();

const reason = whyNoMounts();
const { mountImage, unmountImage } = library;

/** A file of somebody else, where overlayfs would empty a folder of that name. */
const precious = (...folders: string[]): string => join(at('victim/work'), ...folders, 'precious');

describe.skipIf(reason !== null)(titleOf('a writable mount', reason), () => {
  let reference: string;
  beforeEach(async () => {
    reference = await writeImage('one', [threeLayers[0]!]);
  });

  test.each([
    'back\\slash',
    'a\\\\b',
    'comma,colon:',
    'x,upperdir=y',
    `${'long'.repeat(60)}\\/${'er'.repeat(60)}`,
  ])('writes to the folder of any name: %s', async (name) => {
    const rw = at(`folder/${name}`);
    await mountImage(reference, at('target'), options({ rw }));
    writeFileSync(at('target/new'), 'x');
    expect(readFileSync(join(rw, 'upper/new'), 'utf8')).toBe('x');
    expect(readdirSync(at('folder'))).toEqual([name.split('/')[0]]);
    await unmountImage(at('target'), options());
    await expectNothingLeft();
  });

  test.each(['upper', 'work'])('does not follow a link named %s', async (part) => {
    mkdirSync(at('victim/work'), { recursive: true });
    writeFileSync(precious(), 'x');
    mkdirSync(at('rw'));
    symlinkSync(at('victim'), at(`rw/${part}`));
    await expect(mountImage(reference, at('target'), options({ rw: at('rw') }))).rejects.toThrow(
      refusal('USAGE', at(`rw/${part}`)),
    );
    expect(readdirSync(at('victim'))).toEqual(['work']);
    expect(readFileSync(precious(), 'utf8')).toBe('x');
    expect(existsSync(at('target'))).toBe(false);
    await expectNothingLeft();
  });

  test('a file named upper is refused', async () => {
    mkdirSync(at('rw'));
    writeFileSync(at('rw/upper'), '');
    await expect(mountImage(reference, at('target'), options({ rw: at('rw') }))).rejects.toThrow(
      refusal('USAGE', at('rw/upper')),
    );
    await expectNothingLeft();
  });

  test('a folder put in its place meanwhile is not used', async () => {
    mkdirSync(at('rw'));
    mkdirSync(dirname(precious('work')), { recursive: true });
    writeFileSync(precious('work'), 'x');
    const onStep = (moment: string): void => {
      if (moment !== 'before overlay') return;
      renameSync(at('rw'), at('moved'));
      symlinkSync(at('victim'), at('rw'));
    };
    await mountBy(watchedSteps(onStep), reference, at('target'), { rw: at('rw') });
    writeFileSync(at('target/new'), 'x');
    expect(readdirSync(at('victim'))).toEqual(['work']);
    expect(readFileSync(precious('work'), 'utf8')).toBe('x');
    expect(readFileSync(at('moved/upper/new'), 'utf8')).toBe('x');
    await unmountImage(at('target'), options());
    await expectNothingLeft();
  });
});

describe.skipIf(reason !== null)(titleOf('a state folder', reason), () => {
  test('may have any name', async () => {
    const state = at('state,a\\b:c');
    const reference = await writeImage('two', threeLayers.slice(0, 2));
    await mountImage(reference, at('target'), { state, rw: at('rw') });
    expect(readFileSync(at('target/opaque/fresh'), 'utf8')).toBe('5');
    const { undone } = await unmountImage(at('target'), { state });
    expect(undone).toEqual(['overlay', 'erofs']);
  });
});
