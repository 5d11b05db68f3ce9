import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { at } from '../e2e/workspace';
import { refusal } from '../support/refusal';
import { titleOf, whyNoMounts } from './support/machine';
import {
  expectNothingLeft,
  leftovers,
  library,
  options,
  state,
  stateFiles,
  support,
  threeLayers,
  useMounts,
  writeImage,
} from './support/mounting';

// The claim: a process that is killed at any step of mounting leaves nothing that the next umount, repair or mount does not undo.

useMounts();

const reason = whyNoMounts();
const { mountImage, unmountImage, repairMounts } = library;

describe.skipIf(reason !== null)(titleOf('a crash at each step', reason), () => {
  let reference: string;
  const crashAt = (moment: number) =>
    spawnSync(
      process.execPath,
      [join(support, 'crash-mount.mjs'), `${moment}`, reference, at('target'), state, at('rw')],
      { encoding: 'utf8' },
    );

  beforeEach(async () => {
    reference = await writeImage('two', threeLayers.slice(1));
    mkdirSync(at('rw'));
  });

  test.each(['umount', 'repair', 'mount'] as const)('%s leaves nothing', async (way) => {
    const whole = crashAt(-1);
    expect(whole.stderr).toBe('');
    const moments = whole.stdout.trim().split('\n');
    expect(moments).toEqual(
      expect.arrayContaining(['before record', 'after loop', 'before overlay', 'after done']),
    );
    await unmountImage(at('target'), { state });
    for (const [i, moment] of moments.entries()) {
      expect(crashAt(i).signal, moment).toBe('SIGKILL');
      if (way === 'mount') await mountImage(reference, at('target'), options()).catch(expectMounted(moment));
      if (way === 'repair') await repairMounts({ state });
      if (way !== 'repair' || moment === 'after done') await unmountImage(at('target'), { state });
      expect({ moment, left: leftovers(), files: stateFiles() }).toEqual({
        moment,
        left: [],
        files: [],
      });
      expect(await unmountImage(at('target'), { state })).toEqual({ target: at('target'), undone: [] });
    }
    await expectNothingLeft();
  });

  /** After the last step it is no crash any more: the mount is there. */
  const expectMounted = (moment: string) => (error: unknown) => {
    expect({ moment, error }).toEqual({ moment: 'after done', error: refusal('FAILED', 'already') });
  };
});
