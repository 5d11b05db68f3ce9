import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi, type MockInstance } from 'vitest';
import { RegistryDestination } from '../../../src/store/registry/destination';
import type { StoreOptions } from '../../../src/store/registry/options';
import { RegistrySource } from '../../../src/store/registry/source';
import { caught } from '../../support/caught';
import { FakeRegistry, refuse } from '../../support/fake-registry';
import { refusal } from '../../support/refusal';
import { TokenServer, user } from '../../support/token-server';
import {
  commitBlob,
  describeBytes,
  home,
  noise,
  quick,
  reference,
  registry,
  sampleManifest,
  types,
  useRegistry,
} from './sample';

useRegistry();

let tokens: TokenServer;
beforeEach(async () => {
  tokens = await TokenServer.start('fake');
});
afterEach(() => tokens.stop());

const { bytes, descriptor } = sampleManifest();
const pair = `${user.name}:${user.password}`;
/** Nothing of these may be in an error. */
const secrets = [user.password, user.identityToken, Buffer.from(pair).toString('base64')];

async function logIn(entry: object = { auth: Buffer.from(pair).toString('base64') }): Promise<StoreOptions> {
  const authFile = join(home, 'auth.json');
  await writeFile(authFile, JSON.stringify({ auths: { [registry.host]: entry } }));
  return { ...quick(), authFile };
}

async function resolve(options: StoreOptions = quick()): Promise<string> {
  const source = await RegistrySource.open(reference(), options);
  try {
    return (await source.resolve('one')).digest;
  } finally {
    await source.close();
  }
}

async function push(blobs: Buffer[], options: StoreOptions, source?: string): Promise<void> {
  const store = await RegistryDestination.open(reference(), { ...options, uploadChunkSize: 1000, source });
  try {
    for (const blob of blobs) await commitBlob(store, blob);
    await store.writeBlob(descriptor, bytes);
    await store.setReference('one', descriptor);
  } finally {
    await store.close();
  }
}

async function refusedWith(action: () => Promise<unknown>): Promise<string> {
  const error = await caught(action);
  const text = `${error.message} (${error.hint ?? ''})`;
  for (const secret of secrets) expect(text).not.toContain(secret);
  return text;
}

const authorizations = () =>
  registry.calls.map(({ headers }) => headers.authorization?.split(' ')[0] ?? 'none');

describe('Basic authentication', () => {
  beforeEach(() => {
    registry.auth = { kind: 'basic', pair };
    registry.putManifest('team/app', 'one', types.manifest, bytes);
  });

  it('is sent once it is asked for', async () => {
    expect(await resolve(await logIn())).toBe(descriptor.digest);
    await push([noise(10)], await logIn());
    expect(authorizations().filter((scheme) => scheme === 'none')).toHaveLength(2);
  });

  it('without credentials says where they were looked for', async () => {
    const text = await refusedWith(() => resolve());
    expect(text).toContain('status 401: authentication required');
    expect(text).toContain(`no credentials for ${registry.host} in ${home}/containers/auth.json (absent)`);
  });

  it('with wrong ones says whose they were, and does not try for ever', async () => {
    const options = await logIn({ username: user.name, password: 'wrong-secret' });
    const text = await refusedWith(() => resolve(options));
    expect(text).toContain(`the credentials of ${home}/auth.json were used`);
    expect(text).not.toContain('wrong-secret');
    expect(registry.calls).toHaveLength(2);
  });
});

describe('tokens', () => {
  beforeEach(() => {
    registry.auth = { kind: 'token', server: tokens };
    registry.putManifest('team/app', 'one', types.manifest, bytes);
  });

  it.each(['token', 'access_token'])('are fetched without credentials too, from "%s"', async (member) => {
    tokens.member = member;
    expect(await resolve()).toBe(descriptor.digest);
    expect(tokens.requests).toHaveLength(1);
    const { url, method, authorization } = tokens.requests[0]!;
    expect({ method, authorization }).toEqual({ method: 'GET', authorization: undefined });
    expect([...url.searchParams]).toEqual([
      ['service', 'fake'],
      ['scope', 'repository:team/app:pull'],
    ]);
  });

  it('are asked for once for many requests, with all that is needed', async () => {
    await push([noise(10), noise(20), noise(3000)], await logIn());
    expect(registry.manifests.has('team/app one')).toBe(true);
    expect(tokens.requests).toHaveLength(1);
    expect(tokens.requests[0]!.url.searchParams.getAll('scope')).toEqual(['repository:team/app:pull,push']);
    expect(tokens.requests[0]!.url.searchParams.get('account')).toBe(user.name);
    expect(authorizations().filter((scheme) => scheme === 'none')).toHaveLength(1);
  });

  it('are shared by requests that need one at the same time', async () => {
    const blobs = Array.from({ length: 5 }, () => noise(100));
    for (const blob of blobs) registry.putBlob('team/app', blob);
    const source = await RegistrySource.open(reference(), quick());
    await source.resolve('one');
    const files = await Promise.all(blobs.map((blob) => source.openFile(describeBytes(blob))));
    for (const file of files) await file.close();
    await source.close();
    expect(tokens.requests).toHaveLength(1);
  });

  it('for a mount allow to read the other repository', async () => {
    const shared = noise(100);
    registry.putBlob('team/base', shared);
    const source = `docker://${registry.host}/team/base`;
    const store = await RegistryDestination.open(reference(), { ...(await logIn()), source });
    expect(await store.has(describeBytes(shared))).toBe(true);
    await store.close();
    expect(tokens.requests.at(-1)!.url.searchParams.getAll('scope')).toEqual([
      'repository:team/app:pull,push',
      'repository:team/base:pull',
    ]);
  });

  it('that expire in the middle of an upload are fetched anew', async () => {
    const blob = noise(5500);
    let patches = 0;
    registry.misbehave = ({ method, headers }, response) => {
      // The registry forgets a token after two uses of it.
      if (method !== 'PATCH' || ++patches % 3 !== 0 || headers.authorization === undefined) return false;
      response.writeHead(401, {
        'www-authenticate': `Bearer realm="${tokens.realm}",service="fake",error="invalid_token"`,
      });
      response.end();
      return true;
    };
    await push([blob], await logIn());
    expect(registry.blobs.get(`team/app ${describeBytes(blob).digest}`)?.equals(blob)).toBe(true);
    expect(tokens.requests.length).toBeGreaterThan(2);
    expect(registry.uploads.size).toBe(0);
  });

  it('are used for their time but for its last ten seconds, and not after it', async () => {
    const now = performance.now.bind(performance);
    let later = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + later);
    const source = await RegistrySource.open(reference(), quick());
    const asked: number[] = [];
    for (const seconds of [0, 30, 51, 90, 102]) {
      later = seconds * 1000;
      await source.resolve('one');
      asked.push(tokens.requests.length);
    }
    clock.mockRestore();
    await source.close();
    expect(asked).toEqual([1, 1, 2, 2, 3]);
    expect(authorizations()).toEqual(['none', ...Array<string>(5).fill('Bearer')]);
  });

  it('come by OAuth2 for an identity token', async () => {
    await push([noise(10)], await logIn({ identitytoken: user.identityToken }));
    expect(tokens.requests).toHaveLength(1);
    const { method, url, body } = tokens.requests[0]!;
    expect({ method, search: url.search }).toEqual({ method: 'POST', search: '' });
    expect(Object.fromEntries(body)).toEqual({
      grant_type: 'refresh_token',
      service: 'fake',
      scope: 'repository:team/app:pull,push',
      client_id: 'seekable-erofs-native',
      refresh_token: user.identityToken,
    });
  });

  it('of a file are sent as they are', async () => {
    const claims = { exp: Date.now(), access: [{ name: 'team/app', actions: ['pull'] }] };
    const registrytoken = `x.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;
    expect(await resolve(await logIn({ registrytoken }))).toBe(descriptor.digest);
    expect(tokens.requests).toEqual([]);
  });

  it('that do not allow enough are a refusal that names the file', async () => {
    const text = await refusedWith(() => push([noise(10)], quick()));
    expect(text).toContain('status 401');
    expect(text).toContain('no credentials for');
  });

  it('are not given for wrong credentials, which are told by their file', async () => {
    const text = await refusedWith(async () =>
      resolve(await logIn({ auth: Buffer.from('alice:nonsense').toString('base64') })),
    );
    expect(text).toContain(
      `token server ${tokens.realm}: the server answers with status 401: wrong password`,
    );
    expect(text).toContain(`the credentials of ${home}/auth.json were sent`);
    expect(text).not.toContain('nonsense');
  });

  it.each([
    ['no JSON', '"secret-token'],
    ['no token', '{"tokens":"secret-token"}'],
    ['a token that is none', JSON.stringify({ token: 'secret-token\r\nx: y' })],
  ])('answers that are %s are refused, without their text', async (_name, answer) => {
    tokens.misbehave = (_request, response) => {
      response.writeHead(200).end(answer);
      return true;
    };
    const text = await refusedWith(() => resolve());
    expect(text).not.toContain('secret-token');
    expect(text).toContain('its answer');
  });

  it('are tried for again when their server stumbles', async () => {
    let stumbles = 2;
    tokens.misbehave = (_request, response) => {
      if (stumbles-- <= 0) return false;
      if (stumbles === 1) response.destroy();
      else refuse(response, 503, 'UNAVAILABLE');
      return true;
    };
    expect(await resolve()).toBe(descriptor.digest);
    expect(tokens.requests).toHaveLength(3);
  });
});

describe('credentials are not sent', () => {
  const challenge = (text: string) => {
    registry.misbehave = ({ headers }, response) => {
      if (headers.authorization !== undefined) return false;
      response.writeHead(401, { 'www-authenticate': text }).end();
      return true;
    };
  };

  it.each([
    [
      'over plain HTTP to another machine',
      'Bearer realm="http://192.0.2.1/token"',
      'not reached by https: http://192.0.2.1',
    ],
    ['to what is no URL', 'Bearer realm="nonsense"', 'names no token server'],
    ['to what is no web server', 'Bearer realm="file:///etc/passwd"', 'not reached by https'],
    ['by a scheme that is not known', 'Negotiate', 'wants authentication by negotiate'],
  ])('%s', async (_name, text, why) => {
    challenge(text);
    const options = await logIn();
    expect(await refusedWith(() => resolve(options))).toContain(why);
  });

  it('where the registry redirects to, nor to whom that place names', async () => {
    const storage = await FakeRegistry.start();
    try {
      const blob = noise(5000);
      const digest = registry.putBlob('team/app', blob);
      storage.putBlob('team/app', blob);
      registry.auth = { kind: 'token', server: tokens };
      registry.misbehave = ({ path, headers }, response) => {
        if (!path.endsWith(digest) || headers.authorization === undefined) return false;
        response.writeHead(307, { location: `http://${storage.host}/v2/${path}?signature=secret` }).end();
        return true;
      };
      const source = await RegistrySource.open(reference(), await logIn());
      const file = await source.openFile(describeBytes(blob));
      expect((await file.read(0, file.size)).equals(blob)).toBe(true);
      await file.close();
      const part = await (await source.openBlob(describeBytes(blob))).read(100, 10);
      expect(part.equals(blob.subarray(100, 110))).toBe(true);
      expect(storage.calls.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined]);
      expect(storage.calls[1]!.headers.range).toBe('bytes=100-109');

      const strangers = await TokenServer.start('fake');
      storage.auth = { kind: 'token', server: strangers };
      const asked = tokens.requests.length;
      const error = await caught(() => source.openFile(describeBytes(blob)));
      expect(error.message).toContain('status 401');
      expect(`${error.message} ${error.hint ?? ''}`).not.toContain('signature');
      expect(storage.calls.map(({ headers }) => headers.authorization)).toEqual([
        undefined,
        undefined,
        undefined,
      ]);
      expect(tokens.requests).toHaveLength(asked);
      expect(strangers.requests).toEqual([]);
      await source.close();
      await strangers.stop();
    } finally {
      await storage.stop();
    }
  });

  it('where an upload is to go on, if that is elsewhere', async () => {
    const storage = await FakeRegistry.start();
    try {
      registry.auth = { kind: 'basic', pair };
      registry.misbehave = ({ method, path }, response) => {
        if (method !== 'POST') return false;
        storage.uploads.set('1', Buffer.alloc(0));
        response.writeHead(202, { location: `http://${storage.host}/v2/${path}1` }).end();
        return true;
      };
      const blob = noise(100);
      const store = await RegistryDestination.open(reference(), await logIn());
      await commitBlob(store, blob);
      await store.close();
      expect(storage.calls.map(({ method, headers }) => [method, headers.authorization])).toEqual([
        ['PUT', undefined],
      ]);
    } finally {
      await storage.stop();
    }
  });
});

it('a registry that asks for nothing is not told anything', async () => {
  registry.putManifest('team/app', 'one', types.manifest, bytes);
  expect(await resolve(await logIn())).toBe(descriptor.digest);
  expect(authorizations()).toEqual(['none']);
  await expect(resolve({ authFile: join(home, 'absent.json') })).resolves.toBe(descriptor.digest);
  registry.auth = { kind: 'basic', pair };
  await expect(resolve({ authFile: join(home, 'absent.json') })).rejects.toThrow(
    refusal('NOT_FOUND', 'absent.json'),
  );
});

describe('credentials that are refused after a while', () => {
  const other = { name: user.name, password: 'another' };
  const entryOf = ({ name, password }: { name: string; password: string }) => ({
    auth: Buffer.from(`${name}:${password}`).toString('base64'),
  });
  let now: MockInstance<typeof performance.now>;
  let later = 0;

  beforeEach(() => {
    later = 0;
    const real = performance.now.bind(performance);
    now = vi.spyOn(performance, 'now').mockImplementation(() => real() + later);
    registry.putManifest('team/app', 'one', types.manifest, bytes);
  });
  afterEach(() => {
    now.mockRestore();
  });

  it.each(['basic', 'token'])('are looked for again, once in a while (%s)', async (kind) => {
    registry.auth = kind === 'basic' ? { kind, pair } : { kind: 'token', server: tokens };
    tokens.lifetime = 1;
    const source = await RegistrySource.open(reference(), await logIn());
    try {
      await source.resolve('one');
      // The file has another password now, and the registry takes no other.
      await logIn(entryOf(other));
      later = 5000;
      if (kind === 'basic') registry.auth = { kind, pair: `${other.name}:${other.password}` };
      else
        tokens.misbehave = ({ authorization }, response) => {
          if (authorization === `Basic ${entryOf(other).auth}`) return false;
          response.writeHead(401).end('{}');
          return true;
        };
      if (kind === 'token') await expect(source.resolve('one')).rejects.toThrow('token server');
      else expect((await source.resolve('one')).digest).toBe(descriptor.digest);
      const sent = kind === 'basic' ? registry.calls : tokens.requests;
      const last = sent.at(-1)!;
      const authorization = 'authorization' in last ? last.authorization : last.headers.authorization;
      expect(authorization).toBe(`Basic ${entryOf(other).auth}`);
    } finally {
      await source.close();
    }
  });

  it('are the reason for an error when there are no others, and are not looked for at each refusal', async () => {
    registry.auth = { kind: 'basic', pair };
    const source = await RegistrySource.open(reference(), await logIn());
    try {
      await source.resolve('one');
      registry.auth = { kind: 'basic', pair: 'other:pair' };
      await expect(source.resolve('one')).rejects.toMatchObject({ code: 'IO' });
      await logIn(entryOf({ name: 'other', password: 'pair' }));
      await expect(source.resolve('one')).rejects.toMatchObject({ code: 'IO' }); // within a second
      later = 5000;
      expect((await source.resolve('one')).digest).toBe(descriptor.digest);
    } finally {
      await source.close();
    }
  });
});
