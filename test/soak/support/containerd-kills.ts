import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { titleOf } from '../../conformance/support/machine';
import { root } from '../../conformance/support/mounting';
import { missing } from '../../e2e/support/scenario.mjs';
import { rounds } from '../../support/rounds';
import { count } from './figures';

const limit = 3_600_000;

/** A scenario with containerd (`test/e2e/NAME.mjs`) kills 30 times each the server, containerd, and both; a tenth of that is a step of `npm test`. */
export function killWithContainerd(title: string, name: string): void {
  const isWhole = process.env['SOAK'] === 'whole';
  const reason = isWhole ? missing() : `the step ${name} does a tenth of it`;
  describe.skipIf(reason !== null)(titleOf(title, reason), () => {
    test('reads on after servers and containerd were killed', { timeout: limit }, async (context) => {
      const kills = rounds(30);
      const env = { ...process.env, KILLS: `${kills}`, SCENARIOS: 'killed,nothingLeft' };
      const script = join(root, 'test/e2e', `${name}.mjs`);
      const { stdout } = await promisify(execFile)(process.execPath, [script], {
        env,
        timeout: limit,
        maxBuffer: 1 << 26,
      });
      const [, plan, all] = /ok: (\d+) kills \((.*)\)/.exec(stdout)!;
      for (const kind of ['server', 'containerd', 'both']) expect(all).toContain(`${kills} ${kind}`);
      expect(stdout).toContain('ok: nothing is left');
      count(context, 'kills', Number(plan));
      for (const [, times, kind] of all!.matchAll(/(\d+) ([\w+]+)/g)) count(context, kind!, Number(times));
      count(context, 'seed', Number(/KILLS_SEED=(\d+)/.exec(stdout)![1]));
    });
  });
}
