import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { withView } from '../../../src/image/open-view';
import { buildErofs } from '../../../src/layer/build';
import { containerConfig } from '../../../src/mount/container/config';
import { containerSettings } from '../../../src/mount/container/settings';
import { readAccounts, resolveUser } from '../../../src/mount/container/user';
import { makeTar } from '../../e2e/sample';
import { refusal } from '../../support/refusal';

describe('settings of an image', () => {
  const settings = (config?: Record<string, unknown>, command: string[] = []) =>
    containerSettings(config, command, 'image');
  const settingsOf =
    (config: unknown, command: string[] = []) =>
    () =>
      settings(config as Record<string, unknown>, command);

  test('Entrypoint and Cmd are run, a command is run in their place', () => {
    const config = { Entrypoint: ['/entry'], Cmd: ['a', 'b'], Env: ['A=1'], WorkingDir: '/srv', User: 'app' };
    expect(settings(config)).toEqual({ args: ['/entry', 'a', 'b'], env: ['A=1'], cwd: '/srv', user: 'app' });
    expect(settings(config, ['/bin/sh', '-c', '']).args).toEqual(['/bin/sh', '-c', '']);
    expect(settings({ Cmd: null, Entrypoint: ['/entry'], Env: null, User: null }).args).toEqual(['/entry']);
  });

  test('an image without a config runs a command in /', () => {
    expect(settings(undefined, ['ls'])).toEqual({ args: ['ls'], env: [], cwd: '/', user: '' });
  });

  test.each([[undefined], [{}], [{ Cmd: [] }], [{ Cmd: [''] }]])('%j has nothing to run: USAGE', (config) => {
    expect(settingsOf(config)).toThrow(refusal('USAGE'));
  });

  test('of a variable that is there twice the last value counts', () => {
    expect(settings({ Env: ['A=1', 'B=x=y', 'A=', 'Ä=ö'] }, ['x']).env).toEqual(['A=', 'B=x=y', 'Ä=ö']);
  });

  test.each([
    ['a NUL in Env', { Env: ['A=\0B=1'] }],
    ['a NUL in Cmd', { Cmd: ['/bin/sh\0'] }],
    ['a NUL in WorkingDir', { WorkingDir: '/a\0' }],
    ['a NUL in User', { User: 'root\0' }],
    ['a variable without a value', { Env: ['A'] }],
    ['a variable without a name', { Env: ['=A'] }],
    ['a relative WorkingDir', { WorkingDir: 'etc' }],
    ['a relative WorkingDir that climbs', { WorkingDir: '../../etc' }],
    ['an Env that is an object', { Env: { A: '1' } }],
    ['a Cmd that is a string', { Cmd: '/bin/sh -c ls' }],
    ['numbers in Cmd', { Cmd: [1] }],
    ['a User that is a number', { User: 0 }],
    ['5000 variables', { Env: Array.from({ length: 5000 }, (_, i) => `A${i}=`) }],
    ['a string of 128 KiB', { Env: [`A=${'x'.repeat(131_070)}`] }],
    ['2 MiB of arguments', { Cmd: Array<string>(20).fill('x'.repeat(100_000)) }],
  ])('%s is CORRUPT', (_name, config) => {
    expect(settingsOf({ Entrypoint: ['/x'], ...config })).toThrow(refusal('CORRUPT'));
  });

  test('a command of the user with a NUL is USAGE', () => {
    expect(settingsOf({}, ['a\0b'])).toThrow(refusal('USAGE'));
  });

  test('a WorkingDir does not climb above the root', () => {
    expect(settings({ WorkingDir: '/a/../../../b/./c/' }, ['x']).cwd).toBe('/b/c');
  });

  test('names of JavaScript objects are names like any other', () => {
    const env = ['__proto__=1', 'constructor=2', 'toString=3'];
    expect(settings({ Env: env }, ['x']).env).toEqual(env);
  });
});

describe('the user of an image', () => {
  const accounts = {
    passwd: [
      'root:x:0:0:root:/root:/bin/sh',
      'app:x:1000:1001:An app:/home/app:/bin/sh',
      '# comment:x:5:5::/:',
      'broken:x:no:number::/:',
      'short:x',
      '2000:x:3000:3001:a name of digits:/n:/bin/sh',
      'relative:x:7:7::home:/bin/sh',
      'huge:x:99999999999:1::/:',
      'app:x:6666:6666:a second one:/evil:/bin/sh',
      'negative:x:-1:-1::/:',
    ].join('\n'),
    group: [
      'root:x:0:',
      'app:x:1001:',
      'wheel:x:10:root,app',
      'audio:x:29:app',
      'again:x:29:app',
      'bad:x:zz:app',
    ].join('\n'),
  };
  const user = (text: string) => resolveUser(text, accounts, 'image');

  test.each([
    ['', { uid: 0, gid: 0, additionalGids: [10], home: '/root' }],
    ['root', { uid: 0, gid: 0, additionalGids: [10], home: '/root' }],
    ['app', { uid: 1000, gid: 1001, additionalGids: [10, 29], home: '/home/app' }],
    ['1000', { uid: 1000, gid: 1001, additionalGids: [10, 29], home: '/home/app' }],
    ['1234', { uid: 1234, gid: 0, additionalGids: [], home: '/' }],
    ['1234:5678', { uid: 1234, gid: 5678, additionalGids: [], home: '/' }],
    ['app:wheel', { uid: 1000, gid: 10, additionalGids: [], home: '/home/app' }],
    [':wheel', { uid: 0, gid: 10, additionalGids: [], home: '/root' }],
    ['2000', { uid: 3000, gid: 3001, additionalGids: [], home: '/n' }],
    ['relative', { uid: 7, gid: 7, additionalGids: [], home: '/' }],
    ['4294967294', { uid: 4294967294, gid: 0, additionalGids: [], home: '/' }],
  ])('%j', (text, expected) => {
    expect(user(text)).toMatchObject(expected);
  });

  test.each([
    ...['nobody-here', 'app:nobody-here', 'app:wheel:x', 'broken', 'short', 'huge', 'negative', '# comment'],
    ...['-1', '4294967295', '0x0', '1e3', '__proto__', ' root', 'root ', '99999999999999999999'],
  ])('%j is CORRUPT', (text) => {
    expect(() => user(text)).toThrow(refusal('CORRUPT'));
  });

  test('an image without accounts has root and numbers', () => {
    const none = { passwd: '', group: '' };
    expect(resolveUser('', none, 'image')).toMatchObject({ uid: 0, gid: 0, home: '/' });
    expect(resolveUser('5:6', none, 'image')).toMatchObject({ uid: 5, gid: 6 });
    expect(() => resolveUser('root', none, 'image')).toThrow(refusal('CORRUPT'));
  });

  test('a million groups are read, and not all of them are taken', () => {
    const group = Array.from({ length: 100_000 }, (_, i) => `g${i}:x:${i + 5}:app`).join('\n');
    expect(resolveUser('app', { ...accounts, group }, 'image').additionalGids).toHaveLength(1024);
  });
});

describe("an image's accounts", () => {
  const accountsOf = async (...entries: Parameters<typeof makeTar>[0]) => {
    const folder = await mkdtemp(join(tmpdir(), 'accounts-'));
    try {
      await writeFile(join(folder, 'tar'), await makeTar(entries));
      await buildErofs(join(folder, 'tar'), join(folder, 'image'));
      return await withView(join(folder, 'image'), {}, ({ tree }) => readAccounts(tree));
    } finally {
      await rm(folder, { recursive: true });
    }
  };
  const real = { name: 'usr/lib/accounts', content: 'inside:x:1:1::/:\n' };

  test.each([['../usr/lib/accounts'], ['/usr/lib/accounts'], ['../../../../../usr/lib/accounts']])(
    'a symlink to %s stays inside of the image',
    async (linkname) => {
      const { passwd, group } = await accountsOf(real, { name: 'etc/passwd', type: 'symlink', linkname });
      expect({ passwd, group }).toEqual({ passwd: real.content, group: '' });
    },
  );

  test("a symlink to this machine's files finds nothing", async () => {
    const linkname = '../../../../../etc/hostname';
    expect(await accountsOf({ name: 'etc/passwd', type: 'symlink', linkname })).toEqual({
      passwd: '',
      group: '',
    });
  });

  test('a folder, a FIFO and a huge file are CORRUPT', async () => {
    const name = 'etc/passwd';
    await expect(accountsOf({ name: `${name}/`, type: 'directory' })).rejects.toThrow(
      refusal('CORRUPT', 'dir'),
    );
    await expect(accountsOf({ name, type: 'fifo' })).rejects.toThrow(refusal('CORRUPT', 'fifo'));
    await expect(accountsOf({ name, content: Buffer.alloc(5 << 20) })).rejects.toThrow(
      refusal('CORRUPT', 'limit'),
    );
  });
});

describe('config.json', () => {
  interface Config {
    process: {
      env: string[];
      terminal: boolean;
      capabilities: Record<string, string[]>;
      noNewPrivileges: boolean;
    };
    linux: { namespaces: { type: string }[] };
    mounts: { source: string; type: string }[];
    hostname: string;
  }
  const settings = { env: ['A=1'], cwd: '/', user: '', args: ['/x'] };
  const user = { uid: 5, gid: 6, additionalGids: [7], home: '/home/u' };
  const config = (changes: object = {}) =>
    containerConfig({ settings, user, rootfs: '/r', hostname: 'h', terminal: false, ...changes }) as Config;

  test('has what the image asked for', () => {
    expect(config()).toMatchObject({
      process: { user: { uid: 5, gid: 6, additionalGids: [7] }, args: ['/x'], cwd: '/', terminal: false },
      root: { path: '/r' },
      hostname: 'h',
    });
  });

  test('PATH, HOME and TERM are given where the image does not say', () => {
    expect(config().process.env).toEqual(['A=1', expect.stringMatching(/^PATH=/) as string, 'HOME=/home/u']);
    const own = ['PATH=/p', 'HOME=', 'TERM=dumb', 'PATHOLOGY=1'];
    expect(config({ settings: { ...settings, env: own }, terminal: true }).process.env).toEqual(own);
    expect(config({ terminal: true }).process.env).toContain('TERM=xterm');
  });

  test('keeps the container away from the machine', () => {
    const { process, linux, mounts } = config();
    expect(linux.namespaces.map(({ type }) => type).sort()).toEqual([
      'ipc',
      'mount',
      'network',
      'pid',
      'uts',
    ]);
    expect(process.noNewPrivileges).toBe(true);
    const powers = new Set(Object.values(process.capabilities).flat());
    for (const power of [
      'MKNOD',
      'SYS_ADMIN',
      'SYS_MODULE',
      'SYS_RAWIO',
      'SYS_PTRACE',
      'NET_ADMIN',
      'DAC_READ_SEARCH',
    ])
      expect(powers).not.toContain(`CAP_${power}`);
    expect(mounts.filter(({ type, source }) => type === 'bind' || source.startsWith('/'))).toEqual([]);
  });
});
