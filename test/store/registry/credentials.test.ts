import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findCredentials } from '../../../src/store/registry/credentials';
import { caught } from '../../support/caught';
import { refusal } from '../../support/refusal';

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const repository = { host: 'registry.test:5000', repository: 'team/app' };

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'credentials-'));
  vi.stubEnv('HOME', home);
  for (const name of ['REGISTRY_AUTH_FILE', 'DOCKER_CONFIG', 'XDG_CONFIG_HOME']) vi.stubEnv(name, undefined);
  vi.stubEnv('XDG_RUNTIME_DIR', join(home, 'run'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(home, { recursive: true });
});

async function put(path: string, content: object | string): Promise<string> {
  const file = join(home, path);
  await mkdir(join(file, '..'), { recursive: true });
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
}

const login = (name: string) => ({ auths: { [repository.host]: { auth: base64(`${name}:secret`) } } });
const nameOf = async (authFile?: string) =>
  (await findCredentials(repository, authFile)).found?.login?.username;

/** Installs `docker-credential-NAME`, a shell script. */
async function putHelper(name: string, script: string): Promise<void> {
  const file = await put(`bin/docker-credential-${name}`, `#!/bin/sh\n${script}\n`);
  await chmod(file, 0o755);
  vi.stubEnv('PATH', `${join(home, 'bin')}${delimiter}${process.env['PATH'] ?? ''}`);
}

describe('files', () => {
  it('are looked through in order, and only one where it is named', async () => {
    const places = [
      'docker/config.json',
      'run/containers/auth.json',
      '.config/containers/auth.json',
      '.docker/config.json',
    ];
    vi.stubEnv('DOCKER_CONFIG', join(home, 'docker'));
    const looked = places.map((path) => `${join(home, path)} (absent)`);
    expect(await findCredentials(repository)).toEqual({ found: null, looked });
    for (const [i, path] of [...places.entries()].reverse()) {
      await put(path, login(`user${i}`));
      expect(await nameOf()).toBe(`user${i}`);
    }
    vi.stubEnv('REGISTRY_AUTH_FILE', await put('env.json', login('env')));
    expect(await nameOf()).toBe('env');
    expect(await nameOf(await put('flag.json', login('flag')))).toBe('flag');
    const other = await put('other.json', { auths: { 'other.test': { auth: base64('a:b') } } });
    expect(await findCredentials(repository, other)).toEqual({ found: null, looked: [other] });
    await expect(findCredentials(repository, join(home, 'none.json'))).rejects.toThrow(
      refusal('NOT_FOUND', 'none.json'),
    );
  });

  it('hold names and passwords in several forms, and tokens', async () => {
    const entryOf = async (entry: object) => {
      const { found } = await findCredentials(
        repository,
        await put('a.json', { auths: { [repository.host]: entry } }),
      );
      return found;
    };
    const origin = join(home, 'a.json');
    expect(await entryOf({ auth: base64('a:b:c\0\0') })).toEqual({
      origin,
      login: { username: 'a', password: 'b:c' },
    });
    expect(await entryOf({ username: 'a', password: 'b' })).toEqual({
      origin,
      login: { username: 'a', password: 'b' },
    });
    expect(await entryOf({ auth: base64('a:'), identitytoken: 'it' })).toEqual({
      origin,
      identityToken: 'it',
    });
    expect(await entryOf({ registrytoken: 'rt' })).toEqual({ origin, registryToken: 'rt' });
    expect(await entryOf({})).toBeNull();
  });

  it('may have entries for parts of a registry, and the most specific counts', async () => {
    const auths: Record<string, object> = { 'https://registry.test:5000/v2/': { auth: base64('url:x') } };
    const file = async () => put('a.json', { auths });
    expect(await nameOf(await file())).toBe('url');
    auths['registry.test:5000'] = { auth: base64('host:x') };
    expect(await nameOf(await file())).toBe('host');
    auths['registry.test:5000/team'] = { auth: base64('team:x') };
    auths['registry.test:5000/tea'] = { auth: base64('tea:x') };
    auths['registry.test:5000/team/app2'] = { auth: base64('app2:x') };
    expect(await nameOf(await file())).toBe('team');
    auths['registry.test:5000/team/app'] = { auth: base64('app:x') };
    expect(await nameOf(await file())).toBe('app');
  });

  it.each(['https://index.docker.io/v1/', 'docker.io', 'index.docker.io', 'https://index.docker.io/v2/'])(
    'call Docker Hub %s',
    async (key) => {
      const file = await put('a.json', { auths: { [key]: { auth: base64('hub:x') } } });
      const { found } = await findCredentials({ host: 'docker.io', repository: 'library/alpine' }, file);
      expect(found?.login?.username).toBe('hub');
      expect((await findCredentials(repository, file)).found).toBeNull();
    },
  );

  it.each([
    ['no JSON', '{"auths": top-secret'],
    ['no object', '["top-secret"]'],
    ['no name', { auths: { [repository.host]: { auth: base64('top-secret') } } }],
    ['no entry', { auths: { [repository.host]: 'top-secret' } }],
    ['no entries', { auths: 'top-secret' }],
  ])('that are broken (%s) are refused without a word of them', async (_name, content) => {
    const error = await caught(async () => findCredentials(repository, await put('a.json', content)));
    expect(error).toMatchObject({ code: 'CORRUPT' });
    expect(JSON.stringify([error.message, error.hint])).not.toContain('secret');
    expect(JSON.stringify([error.message, error.hint])).not.toContain(base64('top-secret'));
  });
});

describe('credential helpers', () => {
  const answer = (username: string) =>
    `read -r server; printf '{"ServerURL":"%s","Username":"${username}","Secret":"%s"}' "$server" "$server$#$1"`;

  it('are told the server on standard input', async () => {
    await putHelper('own', answer('own'));
    await putHelper('all', answer('all'));
    const file = await put('a.json', {
      ...login('entry'),
      credHelpers: { [repository.host]: 'own' },
      credsStore: 'all',
    });
    expect((await findCredentials(repository, file)).found).toEqual({
      origin: `docker-credential-own of ${file}`,
      login: { username: 'own', password: 'registry.test:50001get' },
    });
    const other = await findCredentials({ ...repository, host: 'other.test' }, file);
    expect(other.found?.login).toEqual({ username: 'all', password: 'other.test1get' });
    const hub = await findCredentials({ host: 'docker.io', repository: 'library/alpine' }, file);
    expect(hub.found?.login?.password).toBe('https://index.docker.io/v1/1get');
  });

  it('may have an identity token', async () => {
    await putHelper('own', answer('<token>'));
    const file = await put('a.json', { credsStore: 'own' });
    expect((await findCredentials(repository, file)).found?.identityToken).toBe('registry.test:50001get');
  });

  it('may have nothing, or not be there', async () => {
    await putHelper('empty', 'echo credentials not found in native keychain; exit 1');
    const empty = await put('a.json', { ...login('entry'), credHelpers: { [repository.host]: 'empty' } });
    expect(await nameOf(empty)).toBe('entry');
    const absent = await put('b.json', { credsStore: 'of-nobody' });
    const looked = [absent, 'docker-credential-of-nobody (not installed)'];
    expect(await findCredentials(repository, absent)).toEqual({ found: null, looked });
  });

  it.each([
    ['fails', 'echo top-secret; echo top-secret >&2; exit 1', 'IO'],
    ['prints no JSON', 'echo top-secret', 'CORRUPT'],
    ['prints no secret', `echo '{"Username":"top-secret"}'`, 'CORRUPT'],
    ['prints without end', 'exec cat /dev/zero', 'IO'],
  ])('that %s is an error, without what it prints', async (_name, script, code) => {
    await putHelper('bad', script);
    const error = await caught(async () =>
      findCredentials(repository, await put('a.json', { credsStore: 'bad' })),
    );
    expect(error).toMatchObject({ code, what: 'docker-credential-bad' });
    expect(JSON.stringify([error.message, error.hint])).not.toContain('secret');
  });

  it.each(['../../bin/sh', 'a b', '-x', '', 'a/b', 'a;b'])('are not called "%s"', async (name) => {
    const file = await put('a.json', { credHelpers: { [repository.host]: name } });
    await expect(findCredentials(repository, file)).rejects.toThrow(refusal('USAGE', 'can be none'));
  });
});
