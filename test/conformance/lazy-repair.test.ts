import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { documentOf, runCli } from '../e2e/run-cli';
import { at, folder } from '../e2e/workspace';
import { mountLazily, noiseLayer, processesOf, useLazyMounts, whyNoLazyMounts } from './support/lazily';
import { titleOf } from './support/machine';
import { state, writeImage } from './support/mounting';

// The claim: what is left of lazy mounts when their processes were killed is cleared away, by who comes next or by doctor.

const reason = whyNoLazyMounts();
useLazyMounts(reason !== null);

const mountinfo = () => readFileSync('/proc/self/mountinfo', 'utf8');

async function killed(...programs: string[]): Promise<void> {
  for (const program of programs) {
    for (const pid of processesOf(program)) process.kill(pid, 'SIGKILL');
    while (processesOf(program).length > 0) await sleep(10);
  }
}

describe.skipIf(reason !== null)(titleOf('lazy mounts whose processes were killed', reason), () => {
  test('server and keeper: doctor --repair clears all that stands on them, and leaves other mounts', async () => {
    const image = await writeImage('local', [noiseLayer('a', 20), noiseLayer('b', 20)]);
    const eager = await writeImage('other', [noiseLayer('c', 1)]);
    await documentOf(['mount', eager, at('eager'), '--state', state]);
    await mountLazily(image);
    await killed('keeper-main', 'server-main');
    const { repaired } = await documentOf<{ repaired: { target: string }[] }>([
      'doctor',
      '--repair',
      '--state',
      state,
    ]);
    expect(repaired.map(({ target }) => target)).toEqual([at('target')]);
    expect(mountinfo()).not.toContain(at('target'));
    expect(mountinfo()).not.toContain(`${state}/lazy/layers `);
    expect(existsSync(at('eager/c/0'))).toBe(true);
    await documentOf(['umount', at('eager'), '--state', state]);
    expect(mountinfo()).not.toContain(folder);
  });

  test('the keeper alone: its server goes on, ends with its last mount, and leaves nothing', async () => {
    const image = await writeImage('local', [noiseLayer('a', 20)]);
    await mountLazily(image);
    await killed('keeper-main');
    execFileSync('sha256sum', [at('target/a/0')]);
    expect((await runCli(['umount', at('target'), '--state', state])).exitCode).toBe(0);
    while (processesOf('server-main').length > 0) await sleep(20);
    expect(mountinfo()).not.toContain(folder);
  });
});

describe.skipIf(reason !== null)(titleOf('a server whose keeper was killed', reason), () => {
  test('is followed by the next serve, which goes on with its mounts', async () => {
    const image = await writeImage('local', [noiseLayer('a', 20)]);
    await mountLazily(image);
    const [orphan] = processesOf('server-main');
    await killed('keeper-main');
    const serve = spawn(process.execPath, [
      'dist/cli/main.js',
      'serve',
      '--background',
      'off',
      '--state',
      state,
    ]);
    try {
      await until(() => processesOf('server-main').some((pid) => pid !== orphan));
      await until(() => processesOf('server-main').length === 1);
      execFileSync(
        'sha256sum',
        [...Array(20).keys()].map((i) => at(`target/a/${i}`)),
      );
      // Nobody but the server has the layer's store: it can be mounted elsewhere as well.
      await documentOf(['mount', image, at('other'), '--lazy', '--verity', 'off', '--state', state]);
      for (const target of ['other', 'target'])
        expect((await runCli(['umount', at(target), '--state', state])).exitCode).toBe(0);
    } finally {
      serve.kill('SIGTERM');
      await once(serve, 'exit');
    }
    expect(mountinfo()).not.toContain(folder);
  });
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(20);
}

describe.skipIf(reason !== null)(titleOf('a state folder with a long path', reason), () => {
  test('has its socket all the same', async () => {
    const image = await writeImage('local', [noiseLayer('a', 20)]);
    const long = at(`${'d'.repeat(100)}/${'e'.repeat(100)}`);
    await documentOf(['mount', image, at('target'), '--lazy', '--state', long]);
    expect(existsSync(`${long}/lazy/socket`)).toBe(true);
    expect(await documentOf(['mounts', '--state', long])).toMatchObject([{ layers: [{ lazy: {} }] }]);
    await documentOf(['umount', at('target'), '--state', long]);
    while (processesOf('keeper-main').length > 0) await sleep(20);
    expect(mountinfo()).not.toContain(folder);
  });
});
