import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { titleOf } from '../conformance/support/machine';
import { root } from '../conformance/support/mounting';
import { missing } from '../e2e/support/scenario.mjs';
import { rounds } from '../support/rounds';
import { count } from './support/figures';

// The claim: whatever is killed of our servers and containerd while images are pulled and read, nothing wrong is ever read, containers read on (after
// all of `serve` was killed: those that are started anew), and nothing is left over.

const isWhole = process.env['SOAK'] === 'whole';
const reason = isWhole ? missing() : 'the step containerd-doors does a tenth of it';
const limit = 3_600_000;

describe.skipIf(reason !== null)(titleOf('containerd with our snapshotter', reason), () => {
  test('reads on after servers and containerd were killed', { timeout: limit }, async (context) => {
    const kills = rounds(30);
    const env = { ...process.env, KILLS: `${kills}`, SCENARIOS: 'killed,nothingLeft' };
    const script = join(root, 'test/e2e/containerd-doors.mjs');
    const { stdout } = await promisify(execFile)(process.execPath, [script], {
      env,
      timeout: limit,
      maxBuffer: 1 << 26,
    });
    const [, plan, all] = /ok: (\d+) kills \((.*)\)/.exec(stdout)!;
    for (const kind of ['server', 'containerd', 'both']) expect(all).toContain(`${kills} ${kind}`);
    expect(stdout).toContain('ok: nothing is left');
    count(context, 'kills', Number(plan));
    count(context, 'seed', Number(/KILLS_SEED=(\d+)/.exec(stdout)![1]));
  });
});
