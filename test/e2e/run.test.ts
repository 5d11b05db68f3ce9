import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { LayoutBuilder } from '../conformance/support/image';
import { rootOnly, titleOf, whyNoContainers } from '../conformance/support/machine';
import { documentOf, runCli, type RunOptions } from './run-cli';
import { makeTar } from './sample';
import { EXPECTED_OUTPUT, writeSampleImage } from './support/sample-image.mjs';
import { at, useFolders } from './workspace';

useFolders();

const program = resolve(__dirname, '../../dist/cli/main.js');

const reason = whyNoContainers();

describe.skipIf(reason !== null)(titleOf('run', reason), () => {
  /** The converted sample image, for all tests. */
  let image: string;
  let shared: string;
  beforeAll(async () => {
    shared = mkdtempSync(join(tmpdir(), 'run-e2e-'));
    const place = join(shared, 'sample');
    writeSampleImage(`${place}-source`, 'sample');
    image = `oci:${place}:sample`;
    await documentOf(['convert', `oci:${place}-source:sample`, image, '--dm-verity']);
  });

  afterAll(() => {
    rmSync(shared, { recursive: true });
  });

  /** Folders, and decoded layers, which are kept for the next run. */
  const stays =
    /^(mounts|layers|content|containers|content\/lazy|content\/documents)$|^content\/[0-9a-f]{64}(\/(image|image\.dmverity|vouched-[0-9a-f]{64}\.json))?$/;

  /** Nothing may be left of a container: no mount, no folder, no record. */
  afterEach(() => {
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(at('state'));
    const names = existsSync(at('state'))
      ? readdirSync(at('state'), { recursive: true, encoding: 'utf8' })
      : [];
    expect(names.filter((name) => !stays.test(name))).toEqual([]);
  });

  const flags = (): string[] => ['run', '--quiet', '--state', at('state')];
  const run = (command: string[], options: RunOptions = {}) =>
    runCli([...flags(), image, ...(command.length > 0 ? ['--', ...command] : [])], options);
  const shell = (script: string, options: RunOptions = {}) => run(['/bin/sh', '-c', script], options);

  test('prints hello world from a converted image', async () => {
    const { exitCode, stdout, stderr } = await shell('echo "hello world !"');
    expect({ exitCode, stdout: stdout.toString(), stderr }).toEqual({
      exitCode: 0,
      stdout: 'hello world !\n',
      stderr: '',
    });
  });

  test("without a command the image's own is run, and sees all layers", async () => {
    const { exitCode, stdout, stderr } = await run([]);
    expect(stdout.toString(), stderr).toBe(EXPECTED_OUTPUT);
    expect(exitCode).toBe(0);
  });

  test("the exit code, stdin and stderr are the container's", async () => {
    const script = 'read line; echo "got $line"; echo complaint >&2; exit 7';
    const { exitCode, stdout, stderr } = await shell(script, { input: Buffer.from('a line\n') });
    expect([exitCode, stdout.toString(), stderr]).toEqual([7, 'got a line\n', 'complaint\n']);
  });

  test('a network of its own, a process tree of its own, no new privileges', async () => {
    const script = `echo pid $$; while read line; do echo "$line"; done < /proc/net/dev
      while read name value; do case $name in NoNewPrivs:|CapBnd:) echo "$name $value";; esac; done < /proc/self/status`;
    const { stdout } = await shell(script);
    const text = stdout.toString();
    expect(text).toMatch(/^pid 1\n/);
    expect([...text.matchAll(/^(\w+):(?: +\d+){8}/gm)].map(([, name]) => name)).toEqual(['lo']);
    expect(text).toMatch(/NoNewPrivs: 1/);
    const [, bounding] = /CapBnd: ([0-9a-f]+)/.exec(text)!;
    expect((BigInt(`0x${bounding!}`) >> 27n) & 1n).toBe(0n); // CAP_MKNOD
    expect((BigInt(`0x${bounding!}`) >> 21n) & 1n).toBe(0n); // CAP_SYS_ADMIN
  });

  test('a command that is not there fails', async () => {
    const { exitCode, stdout } = await run(['/no/such/program']);
    expect([exitCode === 0, stdout.toString()]).toEqual([false, '']);
  });

  test('SIGTERM is handed on, and the end is what the container makes of it', async () => {
    const script = `trap 'exit 5' TERM; echo ready >&2; while :; do sleep 0.1; done`;
    const { exitCode } = await shell(script, { signalAt: { pattern: /ready/, signal: 'SIGTERM' } });
    expect(exitCode).toBe(5);
  });

  test('a container that does not heed a signal is killed', async () => {
    const script = `trap '' INT; echo ready >&2; while :; do sleep 0.1; done`;
    const { exitCode } = await shell(script, { signalAt: { pattern: /ready/, signal: 'SIGINT' } });
    expect(exitCode).toBe(130);
  });

  test('what a killed run leaves, doctor --repair removes', async () => {
    const script = `echo ready; while :; do sleep 0.1; done`;
    const child: ChildProcess = spawn(process.execPath, [
      program,
      ...flags(),
      image,
      '--',
      '/bin/sh',
      '-c',
      script,
    ]);
    await once(child.stdout!, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const [left] = await documentOf<{ target: string }[]>(['mounts', '--state', at('state')]);
    expect(left!.target).toContain(at('state'));
    const { repaired } = await documentOf<{ repaired: object[] }>([
      'doctor',
      '--repair',
      '--state',
      at('state'),
    ]);
    expect(repaired).toMatchObject([
      { target: left!.target, undone: expect.arrayContaining(['overlay', 'erofs']) as string[] },
    ]);
    const again = await documentOf<{ repaired: object[] }>(['doctor', '--repair', '--state', at('state')]);
    expect(again.repaired).toEqual([]);
  });

  test('a container that runs is not repaired away', async () => {
    const script = `echo ready; read line; echo "$line"`;
    const child = spawn(process.execPath, [program, ...flags(), image, '--', '/bin/sh', '-c', script]);
    await once(child.stdout, 'data');
    const { repaired } = await documentOf<{ repaired: object[] }>([
      'doctor',
      '--repair',
      '--state',
      at('state'),
    ]);
    expect(repaired).toEqual([]);
    child.stdin.end('still here\n');
    let text = '';
    child.stdout.on('data', (bytes: Buffer) => (text += bytes.toString()));
    const [code] = (await once(child, 'close')) as [number];
    expect([code, text]).toEqual([0, 'still here\n']);
  });

  test.each([
    ['a user that is not there', { User: 'nobody-here' }],
    ['a NUL in the environment', { Env: ['A=\0'] }],
    ['a relative folder', { WorkingDir: '../..' }],
  ])("an image's config with %s is exit 3", async (_name, config) => {
    const source = new LayoutBuilder(at('hostile'));
    const layer = source.tarLayer(
      await makeTar([{ name: 'etc/passwd', content: 'root:x:0:0::/:/bin/sh\n' }]),
    );
    source.name(source.image([layer], { config: { config: { Cmd: ['/x'], ...config } } }));
    await documentOf(['convert', `oci:${at('hostile')}`, `oci:${at('converted')}`]);
    const { exitCode, stderr } = await runCli([...flags(), `oci:${at('converted')}`]);
    expect(stderr).toMatch(/^error: [^\n]+\n$/);
    expect(exitCode).toBe(3);
  });
});

test.skipIf(rootOnly !== null)(
  titleOf('run and doctor --repair without root are exit 4', rootOnly),
  async () => {
    for (const args of [
      ['run', 'oci:x', '--', 'ls'],
      ['doctor', '--repair'],
    ]) {
      const { exitCode, stderr } = await runCli(args, { uid: 65_534 });
      expect(stderr).toMatch(/^error: .*needs root.*\n$/);
      expect(exitCode).toBe(4);
    }
  },
);
