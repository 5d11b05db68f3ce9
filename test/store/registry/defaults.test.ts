import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { parseConfiguration, withDefaults } from '../../../src/store/registry/defaults';
import { retryOptionsOf, type RegistryOptions } from '../../../src/store/registry/options';
import { RegistrySource } from '../../../src/store/registry/source';
import { caught } from '../../support/caught';
import { FakeRegistry } from '../../support/fake-registry';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'defaults-'));
  vi.stubEnv('XDG_CONFIG_HOME', folder);
  vi.stubEnv('REGISTRY_AUTH_FILE', '');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

async function configure(text: string): Promise<void> {
  await writeFile(join(folder, 'config.yaml'), text);
  vi.stubEnv('SEEKABLE_EROFS_CONFIG', join(folder, 'config.yaml'));
}

const text = `
concurrency: 3
authfile: auth.json
registries:
  registry.example:5000:
    insecure-http: true
    concurrency: 12
`;

test('what a file says of one registry comes before what it says of all', async () => {
  await configure(text);
  const authFile = join(folder, 'auth.json');
  expect(await withDefaults('registry.example:5000', {})).toEqual({
    authFile,
    concurrency: 12,
    insecureHttp: true,
  });
  expect(await withDefaults('registry.example', {})).toEqual({ authFile, concurrency: 3 });
});

test('a file is read once, whatever happens to it later; one that is refused is read again', async () => {
  await configure('concurrency: few');
  expect((await caught(() => withDefaults('a', {}))).code).toBe('USAGE');
  await configure('concurrency: 3');
  expect(await Promise.all([withDefaults('a', {}), withDefaults('b', {})])).toEqual([
    { concurrency: 3 },
    { concurrency: 3 },
  ]);
  await configure('concurrency: 5');
  expect(await withDefaults('a', {})).toEqual({ concurrency: 3 });
});

test('a flag comes before the environment, that before a file', async () => {
  await configure(text);
  vi.stubEnv('SEEKABLE_EROFS_CONCURRENCY', '5');
  vi.stubEnv('SEEKABLE_EROFS_INSECURE_HTTP', 'false');
  vi.stubEnv('SEEKABLE_EROFS_AUTHFILE', '/run/auth.json');
  const host = 'registry.example:5000';
  const environment = { authFile: '/run/auth.json', concurrency: 5, insecureHttp: false };
  expect(await withDefaults(host, {})).toEqual(environment);
  expect(await withDefaults(host, { concurrency: 1 })).toEqual({ ...environment, concurrency: 1 });
});

test("other tools' variable for credentials comes before a file, and after our own", async () => {
  await configure(text);
  vi.stubEnv('REGISTRY_AUTH_FILE', '/podman.json');
  expect((await withDefaults<RegistryOptions>('a', {})).authFile).toBe('/podman.json');
  vi.stubEnv('SEEKABLE_EROFS_AUTHFILE', '/ours.json');
  expect((await withDefaults<RegistryOptions>('a', {})).authFile).toBe('/ours.json');
});

test('how long a registry is waited for: what a conversion does by itself comes last', async () => {
  await configure('retry-time: 7\nregistries: { here: { retry-time: 9 } }');
  const time = async (host: string, given: RegistryOptions): Promise<number | undefined> =>
    retryOptionsOf(await withDefaults(host, given)).time;
  const ofConversion = { retry: { time: 60_000 } };
  expect(await time('here', ofConversion)).toBe(9000);
  expect(await time('there', ofConversion)).toBe(7000);
  expect(await time('there', { ...ofConversion, retryTime: 0 })).toBe(0);
});

test('without a file nothing is set; one that was named must be there', async () => {
  expect(await withDefaults('a', {})).toEqual({});
  vi.stubEnv('SEEKABLE_EROFS_CONFIG', join(folder, 'nowhere.yaml'));
  expect((await caught(() => withDefaults('a', {}))).code).toBe('NOT_FOUND');
});

test.each([
  ['concurency: 3', /no setting "concurency".*did you mean "concurrency"/],
  ['retry: 3', /no setting "retry".*there is authfile, cert-dir/],
  ['concurrency: many', /concurrency: it must be a whole number, not "many"/],
  ['concurrency: 0', /a number from 1/],
  ['registries: [a]', /registries: a map is wanted, not a list/],
  ['registries: {a: {insecure: true}}', /no setting "registries\.a\.insecure"/],
  ['registries: {a: 1}', /registries\.a: a map is wanted/],
  ['- a', /a map is wanted, not a list/],
  ['a: [', /config\.yaml: /],
  ['a: &a {b: 1}\nc: *a', /config\.yaml: /],
])('%s is refused', async (bad, message) => {
  const error = await caught(() => parseConfiguration(bad, '/etc/config.yaml'));
  expect([error.code, `${error.message} (${error.hint ?? ''})`]).toEqual([
    'USAGE',
    expect.stringMatching(message),
  ]);
});

test.each([
  ['SEEKABLE_EROFS_CONCURRENCY', 'many'],
  ['SEEKABLE_EROFS_INSECURE_HTTP', 'yes please'],
  ['SEEKABLE_EROFS_CERT_DIR', '-'],
])('%s=%s is refused by its name', async (variable, value) => {
  vi.stubEnv(variable, value);
  expect(await caught(() => withDefaults('a', {}))).toMatchObject({ code: 'USAGE', what: variable });
});

test('a registry is spoken to with them', async () => {
  const registry = await FakeRegistry.start();
  try {
    const auth = Buffer.from('robot:secret').toString('base64');
    registry.auth = { kind: 'basic', pair: 'robot:secret' };
    const host = `127.0.0.1:${registry.port}`;
    await writeFile(join(folder, 'auth.json'), JSON.stringify({ auths: { [host]: { auth } } }));
    await configure(`registries: {"${host}": {authfile: auth.json}}`);
    const source = await RegistrySource.open({ transport: 'docker', host, repository: 'app', tag: 'v1' }, {});
    expect((await caught(() => source.resolve('v1'))).code).toBe('NOT_FOUND');
    await source.close();
    expect(registry.calls.some(({ headers }) => headers.authorization === `Basic ${auth}`)).toBe(true);
  } finally {
    await registry.stop();
  }
});
