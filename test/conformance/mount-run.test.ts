import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { documentOf, runCli } from '../e2e/run-cli';
import { at, useFolders } from '../e2e/workspace';
import { run, titleOf, whyNoContainers, whyWithout } from './support/machine';
import { support, root } from './support/mounting';

// The claim: a container of `run` may do what Docker's default lets it, has the limits that were asked for, and ends with its starter.

useFolders();

const program = join(root, 'dist/cli/main.js');

/** Why limits can't be set here; null when they can. */
function whyNoLimits(): string | null {
  if (existsSync('/sys/fs/cgroup/cgroup.controllers')) {
    const controllers = readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').split(/\s/);
    return ['pids', 'memory'].every((name) => controllers.includes(name))
      ? null
      : 'cgroups lack pids or memory';
  }
  const has = (name: string): boolean => existsSync(`/sys/fs/cgroup/${name}/tasks`);
  return has('pids') && has('memory') ? null : 'needs cgroups';
}

const reason = whyNoContainers() ?? whyWithout('gcc');

describe.skipIf(reason !== null)(titleOf('run', reason), () => {
  let image: string;
  beforeEach(async () => {
    mkdirSync(at('tree/bin'), { recursive: true });
    run('gcc', ['-static', '-O1', '-o', at('tree/bin/probe'), join(support, 'probe.c')]);
    chmodSync(at('tree/bin/probe'), 0o755);
    writeFileSync(at('tree/bin/script'), '#! /bin/none -x\n', { mode: 0o755 });
    writeFileSync(at('tree/bin/good-script'), '#!/bin/probe\n', { mode: 0o755 });
    writeFileSync(at('tree/bin/text'), 'text\n', { mode: 0o755 });
    writeFileSync(at('tree/bin/plain'), '#!/bin/probe\n', { mode: 0o644 });
    copyFileSync('/bin/true', at('tree/bin/dynamic'));
    symlinkSync('../bin/probe', at('tree/bin/link'));
    symlinkSync('missing', at('tree/bin/dangling'));
    run('tar', ['-C', at('tree'), '-cf', at('layer.tar'), '.']);
    image = at('image');
    await documentOf(['build', at('layer.tar'), image]);
  });

  const args = (...words: string[]): string[] => [
    'run',
    ...words.slice(0, -1),
    '--state',
    at('state'),
    image,
    '--',
    '/bin/probe',
    ...words.at(-1)!.split(' '),
  ];
  const probe = (...words: string[]) => runCli(args(...words));

  test('what reaches past namespaces is refused: vsock, keys, io_uring, bpf', async () => {
    const { stdout, stderr, exitCode } = await probe('calls');
    const found = Object.fromEntries(
      [...stdout.toString().matchAll(/^(\S+) (\d+)$/gm)].map(([, call, errno]) => [call, errno]),
    ) as Record<string, string>;
    expect(exitCode, stderr).toBe(0);
    const { EPERM, ENOSYS } = { EPERM: '1', ENOSYS: '38' };
    const calls32 = process.arch === 'x64' ? { 'socket32-vsock': EPERM, 'socketcall-vsock': ENOSYS } : {};
    expect(found).toEqual({
      'socket-vsock': EPERM,
      'socket-alg': EPERM,
      'socket-unix': '0',
      'socket-inet': '0',
      keyctl: EPERM,
      io_uring: EPERM,
      bpf: EPERM,
      'unshare-user': EPERM,
      ...calls32,
    });
  });

  /** A container that says `ready`, and waits for ever. */
  async function startWaiting(...words: string[]) {
    const child = spawn(process.execPath, [program, ...args(...words, 'wait')]);
    await once(child.stdout, 'data');
    return child;
  }

  const noKeys = existsSync('/proc/keys') ? null : 'the kernel has no keys';
  test.skipIf(noKeys !== null)(titleOf('its session keyring is its own', noKeys), async () => {
    const child = await startWaiting();
    try {
      const [id] = readdirSync(at('state/containers')).filter((name) => !name.endsWith('.lock'));
      expect(readFileSync('/proc/keys', 'utf8')).toContain(`_ses.${id}`);
    } finally {
      child.stdin.destroy();
      child.kill('SIGINT'); // it is the first process of its namespace: only the second signal ends it
      child.kill('SIGTERM');
      await once(child, 'close');
    }
  });

  test('it ends with its starter, however that is killed', async () => {
    const child = await startWaiting();
    const [id] = readdirSync(at('state/containers')).filter((name) => !name.endsWith('.lock'));
    const pidFile = at(`state/containers/${id!}/pid`);
    const patience = { timeout: 60_000 };
    const pid = await vi.waitUntil(() => existsSync(pidFile) && readFileSync(pidFile, 'utf8'), patience);
    const lives = (): boolean => {
      const file = `/proc/${pid}/cmdline`;
      return existsSync(file) && readFileSync(file, 'utf8') === '/bin/probe\0wait\0';
    };
    expect(lives()).toBe(true);
    child.kill('SIGKILL');
    await vi.waitUntil(() => !lives(), patience);
    await documentOf(['doctor', '--repair', '--state', at('state')]);
    expect(readdirSync(at('state/containers'))).toEqual([]);
  });

  const noLimits = whyNoLimits();

  test.skipIf(noLimits !== null)(titleOf('--pids-limit', noLimits), async () => {
    expect((await probe('processes 20')).stdout.toString()).toBe('had it\n');
    const { stdout } = await probe('--pids-limit', '5', 'processes 20');
    expect(stdout.toString()).toMatch(/^\d, then Resource temporarily unavailable\n$/);
  });

  test.skipIf(noLimits !== null)(titleOf('--memory', noLimits), async () => {
    expect((await probe('--memory', '256MiB', 'memory 100')).stdout.toString()).toBe('had it\n');
    const { exitCode, stdout } = await probe('--memory', '64MiB', 'memory 100');
    expect([exitCode, stdout.toString()]).toEqual([137, '']);
  });

  test('limits where cgroups are not there, or can’t be written: exit 4, one line', async () => {
    for (const cgroups of [
      'mount -t tmpfs -o ro none /sys/fs/cgroup',
      'mount -o remount,bind,ro /sys/fs/cgroup; for d in /sys/fs/cgroup/*; do mount -o remount,bind,ro $d; done 2>&1 >/dev/null',
    ]) {
      for (const limit of [
        ['--pids-limit', '5'],
        ['--memory', '64MiB'],
      ]) {
        const child = spawn('unshare', [
          '-m',
          'sh',
          '-c',
          `${cgroups}; exec "$0" "$@"`,
          process.execPath,
          program,
          ...args(...limit, 'calls'),
        ]);
        let stderr = '';
        child.stderr.on('data', (bytes: Buffer) => (stderr += bytes.toString()));
        const [exitCode] = (await once(child, 'close')) as [number];
        expect(stderr).toMatch(/^error: \/sys\/fs\/cgroup.*limits need cgroups[^\n]*\n$/);
        expect(exitCode).toBe(4);
      }
    }
  });

  const runProgram = (command: string) => runCli(['run', '--state', at('state'), image, '--', command]);

  test.each([
    ['/no/such', 127, 'no such program'],
    ['no-such', 127, 'no such program'],
    ['/bin/dangling', 127, 'no such program'],
    ['bin/../..', 126, 'a folder'],
    ['/bin', 126, 'a folder'],
    ['/bin/plain', 126, 'no execute bit'],
    ['plain', 127, 'no such program'],
    ['/bin/text', 126, 'exec format error'],
    ['/bin/script', 126, '/bin/none, is not in the image'],
    ['/bin/dynamic', 126, 'is not in the image'],
  ])('%s: exit %i, one line', async (command, code, why) => {
    const { exitCode, stdout, stderr } = await runProgram(command);
    expect(stderr).toMatch(/^error: [^\n]*\n$/);
    expect(stderr).toContain(why);
    expect([exitCode, stdout.toString()]).toEqual([code, '']);
  });

  test('what the runtime refuses is one of our errors', async () => {
    writeFileSync(
      at('runc'),
      '#!/bin/sh\nwhile [ "$1" != --log ]; do shift; done\nprintf %s \'{"level":"error","msg":"no\\nluck"}\' > "$2"; exit 1\n',
      { mode: 0o755 },
    );
    const env = { PATH: `${at('.')}:${process.env['PATH']!}` };
    const { exitCode, stderr } = await runCli(args('calls'), { env });
    expect(stderr).toBe(`error: ${at('runc')}: no luck\n`);
    expect(exitCode).toBe(1);
  });

  test.each(['/bin/probe', 'probe', 'bin/probe', 'link', 'good-script'])('%s is run', async (command) => {
    const { exitCode, stderr } = await runProgram(command);
    expect([exitCode, stderr]).toEqual([0, '']);
  });

  test.each([
    ['--pids-limit', '0'],
    ['--pids-limit', 'many'],
    ['--memory', '0'],
    ['--memory', 'much'],
  ])('%s %s is exit 2', async (flag, value) => {
    const { exitCode, stderr } = await probe(flag, value, 'calls');
    expect(stderr).toMatch(/^error: /);
    expect(exitCode).toBe(2);
  });
});
