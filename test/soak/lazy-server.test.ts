import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { documentOf } from '../e2e/run-cli';
import { at } from '../e2e/workspace';
import { again } from '../support/rounds';
import {
  compareByFour,
  digests,
  dropAllCaches,
  dropCaches,
  files,
  harm,
  killAll,
  lazyOf,
  mount,
  processesOf,
  proxy,
  read,
  reference,
  seekable,
  target,
  umount,
  useLazyImage,
  whyNoLazyMounts,
} from '../conformance/support/lazy-image';
import { titleOf } from '../conformance/support/machine';
import { root, state, useMounts } from '../conformance/support/mounting';
import { count, noteReading } from './support/figures';
import { deadServer, mountEager, Readers, umountEager } from './support/readers';
import { killServer, pidOfServer, serve } from './support/serving';

// The claim: whatever becomes of the lazy server and its keeper, a reader gets right bytes, or an error in time.

useMounts();

const exec = promisify(execFile);
const reason = whyNoLazyMounts();

describe.skipIf(reason !== null)(titleOf('the lazy server', reason), () => {
  useLazyImage();

  test('killed at random while four readers compare with the eager tree', again(10), async (context) => {
    const eager = await mountEager();
    await mount('--io-timeout', '20');
    const readers = await Readers.start(eager, { ioTimeout: 20 });
    for (let killed = 0; killed < 10;) {
      const more = await killServer();
      killed += more;
      count(context, 'kills', more);
      await readers.check();
    }
    noteReading(context, await readers.finish());
    await umount();
    await umountEager();
  });

  test(
    'killed together with its keeper: an error at once, and the next mount goes on',
    again(20),
    async (context) => {
      const eager = await mountEager();
      await mount();
      const readers = await Readers.start(eager, { ioTimeout: 0, allowed: deadServer });
      await sleep(Math.random() * 500);
      dropCaches();
      killAll();
      await expect(read(files[20]!)).rejects.toThrow(/Input\/output error|not connected|connection abort/);
      noteReading(context, await readers.finish());
      await umount();
      await mount();
      await compareByFour();
      await umount();
      await umountEager();
    },
  );

  test(
    'replaced by a newer version, by the reload of its systemd unit, while four readers compare',
    again(5),
    async (context) => {
      const installed = at('package');
      cpSync(join(root, 'dist'), join(installed, 'dist'), { recursive: true });
      for (const name of ['package.json', 'build', 'prebuilds', 'node_modules'])
        symlinkSync(join(root, name), join(installed, name));
      const program = join(installed, 'dist/lazy/server-main.js');
      const server = serve(installed);
      while (!server.serving()) await sleep(20);
      const unit = await documentOf<{ unit: string }>(['serve', '--print-config', 'systemd']);
      const reload = /^ExecReload=(.*)$/m.exec(unit.unit)![1]!;
      const eager = await mountEager();
      await mount();
      const readers = await Readers.start(eager, { ioTimeout: 20 });
      const original = readFileSync(program);
      for (let version = 0; version < 4; version++) {
        const started = at(`version-${version}`);
        writeFileSync(
          program,
          `require('node:fs').writeFileSync(${JSON.stringify(started)}, '');\n${original.toString()}`,
        );
        execFileSync('sh', ['-c', reload], { env: { MAINPID: String(server.child.pid) } });
        while (!existsSync(started)) await sleep(20);
        await pidOfServer();
        await sleep(Math.random() * 200);
        await readers.check();
        count(context, 'upgrades');
      }
      noteReading(context, await readers.finish());
      expect((await seekable('umount', target)).exitCode).toBe(0);
      server.child.kill('SIGTERM');
      expect((await server.ended).code).toBe(143);
      await umountEager();
    },
  );

  test('umount while a read waits ends both', again(10), async () => {
    await mount('--io-timeout', '3600'); // whoever waits for that fails the test
    harm('no connection');
    const waiting = read(files[20]!).catch((error: unknown) => String(error));
    while ((await lazyOf()).waiting === 0) await sleep(20);
    expect((await seekable('umount', target)).exitCode).toBe(0);
    expect(await waiting).toMatch(/Input\/output error|not connected|No such file/);
  });

  test('a signal to a program that waits for a folder is no error to it', again(10), async () => {
    await mount();
    const pid = await pidOfServer();
    rmSync(join(state, 'content/lazy'), { recursive: true }); // the next server has nothing of it
    process.kill(pid, 'SIGKILL');
    while ((await pidOfServer()) === pid) await sleep(20);
    dropAllCaches();
    proxy.delay = 100;
    const program = [
      'import os, signal, sys',
      'def fail(error): raise error',
      'signal.signal(signal.SIGALRM, lambda *_: None)',
      'signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)',
      'names = [os.path.join(folder, file) for folder, _, files in os.walk(sys.argv[1], onerror=fail) for file in files]',
      'for name in names: os.lstat(name)',
      'signal.setitimer(signal.ITIMER_REAL, 0)',
      'print(len(names))',
    ].join('\n');
    const { stdout } = await exec('python3', ['-c', program, target]);
    expect(Number(stdout)).toBeGreaterThan(files.length);
    await umount();
  });

  test('it ends with the last umount: a mount that comes at once has another', again(10), async () => {
    await mount();
    for (let i = 0; i < 3; i++) {
      expect((await seekable('umount', target)).exitCode).toBe(0);
      await sleep(Math.random() * 50);
      await mount();
      expect(await read(files[i]!)).toBe(digests[i]);
    }
    await umount();
  });

  test('two that start at once: one serves, the other says so', again(10), async () => {
    const servers = [serve(), serve()];
    const [loser] = await Promise.race(servers.map(async (server) => [await server.ended, server] as const));
    expect(loser).toMatchObject({ code: 1, said: expect.stringContaining('runs there already') as string });
    const winner = servers.find(({ child }) => child.exitCode === null)!;
    while (!winner.serving()) await sleep(20);
    await mount();
    await compareByFour();
    expect((await seekable('umount', target)).exitCode).toBe(0);
    winner.child.kill('SIGTERM');
    expect((await winner.ended).code).toBe(143);
    expect([...processesOf('server-main'), ...processesOf('keeper-main')]).toEqual([]);
  });

  test('two mounts that start one at once share it', again(10), async () => {
    const other = at('other');
    const flags = ['--lazy', '--verity', 'off', '--background', 'off', '--state', state];
    await Promise.all([mount(), documentOf(['mount', reference, other, ...flags])]);
    expect(processesOf('server-main')).toHaveLength(1);
    await compareByFour();
    expect(await read(files[3]!, other)).toBe(digests[3]);
    expect((await seekable('umount', other)).exitCode).toBe(0);
    dropCaches();
    await compareByFour();
    await umount();
  });

  test('replaced by another, as after an upgrade, while four readers compare', again(10), async () => {
    await mount();
    let isOver = false;
    const all = compareByFour().finally(() => (isOver = true));
    const seen = new Set<number>();
    const isRunning = (): boolean => !isOver;
    while (isRunning() || seen.size < 3) {
      const [pid] = processesOf('server-main');
      if (pid !== undefined && !seen.has(pid) && (await lazyOf().catch(() => null)) !== null) {
        seen.add(pid);
        process.kill(processesOf('keeper-main')[0]!, 'SIGHUP');
      }
      await sleep(50);
    }
    await all;
    dropCaches();
    await compareByFour();
    await umount();
  });

  test(
    'its keeper killed: it goes on, and ends with the last umount; killed then, readers get an error at once',
    again(10),
    async () => {
      await mount();
      process.kill(processesOf('keeper-main')[0]!, 'SIGKILL');
      await compareByFour();
      expect((await seekable('umount', target)).exitCode).toBe(0);
      while (processesOf('server-main').length > 0) await sleep(20);
      rmSync(join(state, 'content'), { recursive: true }); // decoded layers as well: they need no server
      dropCaches();
      await mount();
      process.kill(processesOf('keeper-main')[0]!, 'SIGKILL');
      harm('silent');
      const waiting = read(files[20]!).catch((error: unknown) => String(error));
      while ((await lazyOf()).waiting === 0) await sleep(20);
      process.kill(processesOf('server-main')[0]!, 'SIGKILL');
      expect(await waiting).toMatch(/Input\/output error|not connected/);
      await umount();
    },
  );

  test(
    'a reader that is killed while it waits ends at once, and nobody else notices',
    again(10),
    async () => {
      await mount('--io-timeout', '3600'); // whoever waits for that fails the test
      harm('silent');
      const reader = spawn('sha256sum', [join(target, files[20]!)], { stdio: 'ignore' });
      while ((await lazyOf()).waiting === 0) await sleep(20);
      reader.kill('SIGKILL');
      await once(reader, 'exit');
      // The kernel still waits on its behalf: the end of the mount must not.
      await umount();
    },
  );
});
