import { execFile } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { documentOf, runCli, runJson } from '../e2e/run-cli';
import { makeTar, noise, sampleTar, writeLayout } from '../e2e/sample';
import { Authority } from '../support/certificates';
import { DockerRegistry } from '../support/docker-registry';
import { TokenServer, user } from '../support/token-server';
import { titleOf, whyWithout } from './support/machine';

// The claim: a real registry takes what is pushed and gives it back, however it wants to be asked, and others can read it there.

vi.setConfig({ testTimeout: 300_000 }); // each runs the program a dozen times

const reason = whyWithout('docker-registry', 'skopeo', 'openssl');

/** bcrypt of the password of `user`, with the cheapest cost. */
const passwordHash = '$2b$04$ELVbTgTFwLRXI5uU8.rJ8OAoCOcKQGuSBDvsGTP7O4PzObACzl9Ma';

let folder: string;
/** The environment of a user who has never logged in. */
let env: Record<string, string>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'registry-'));
  env = { HOME: join(folder, 'home'), XDG_RUNTIME_DIR: join(folder, 'run'), TMPDIR: join(folder, 'tmp') };
  for (const path of Object.values(env)) await mkdir(path);
  const layers = [await sampleTar(), await makeTar([{ name: 'big', content: noise(3_000_000, 'big') }])];
  await writeLayout(join(folder, 'source'), layers, { platforms: ['linux/amd64', 'linux/arm64/v8'] });
});
afterAll(() => rm(folder, { recursive: true }));

interface Converted {
  digest: string;
  manifests: { platform: string; layers: { reused: boolean }[] }[];
}

/** Not synchronously: the token server answers in this process. */
async function skopeo(args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('skopeo', args);
  return stdout;
}

/** Puts the sample where Docker's users have theirs: by skopeo, as Docker schema 2. */
async function pushSample(host: string, flags: string[]): Promise<void> {
  const source = `oci:${join(folder, 'source')}:sample`;
  await skopeo(['copy', '--all', '--format', 'v2s2', ...flags, source, `docker://${host}/team/app:tar`]);
}

interface Access {
  host: string;
  /** Flags of our program, and of skopeo as source and as destination. */
  flags: string[];
  theirs: { from: string[]; to: string[]; inspect: string[] };
}

/** Pull, convert, push, pull back; every reading command; skopeo agrees. */
async function checkRoundTrip({ host, flags, theirs }: Access): Promise<void> {
  const options = { env, cwd: folder };
  await pushSample(host, theirs.to);
  const [tar, erofs] = [`docker://${host}/team/app:tar`, `docker://${host}/team/app:erofs`];
  const arm = ['--platform', 'linux/arm64/v8'];
  const converted = await documentOf<Converted>(
    ['convert', tar, erofs, '--all-platforms', '--dm-verity', ...flags],
    options,
  );
  expect(converted.manifests.map(({ platform }) => platform)).toEqual(['linux/amd64', 'linux/arm64/v8']);
  expect(await documentOf(['verify', erofs, ...flags], options)).toMatchObject({ ok: true });
  expect(await documentOf(['check', tar, erofs, ...arm, ...flags], options)).toMatchObject({ ok: true });
  expect(await documentOf(['inspect', erofs, ...flags], options)).toMatchObject({ digest: converted.digest });
  const read = await runCli(['cat', erofs, '/etc/hostname', ...arm, ...flags], options);
  expect(read.stdout.toString()).toBe('sample\n');

  // To another repository: nothing is read anew, and the same image comes out.
  const copy = `docker://${host}/other/app:erofs`;
  const again = await documentOf<Converted>(['convert', erofs, copy, '--all-platforms', ...flags], options);
  expect(again.manifests.flatMap(({ layers }) => layers).every(({ reused }) => reused)).toBe(true);
  expect(again.digest).toBe(converted.digest);

  const inspected = JSON.parse(await skopeo(['inspect', ...theirs.inspect, copy])) as {
    Digest: string;
    RepoTags: string[];
  };
  expect(inspected).toMatchObject({ Digest: converted.digest, RepoTags: ['erofs'] });
  const back = join(folder, `back-${host.split(':')[1] ?? ''}`);
  await skopeo([
    'copy',
    '--all',
    ...theirs.from,
    `${copy.replace(':erofs', '')}@${converted.digest}`,
    `oci:${back}:erofs`,
  ]);
  expect(await documentOf(['verify', `oci:${back}:erofs`], options)).toMatchObject({ ok: true });
  expect(await documentOf(['check', tar, `oci:${back}:erofs`, ...arm, ...flags], options)).toMatchObject({
    ok: true,
  });
  expect(await readdir(env['TMPDIR']!)).toEqual([]);
}

async function failureOf(args: string[]): Promise<{ exitCode: number | null; text: string }> {
  const { exitCode, stderr } = await runJson(args, { env, cwd: folder });
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  expect(stderr).not.toContain(user.password);
  return { exitCode, text: stderr };
}

const logIn = async (name: string, host: string, password = user.password): Promise<string> => {
  const file = join(folder, name);
  const auth = Buffer.from(`${user.name}:${password}`).toString('base64');
  await writeFile(file, JSON.stringify({ auths: { [host]: { auth } } }));
  return file;
};

const credentials = (side: string) => [`--${side}creds`, `${user.name}:${user.password}`];

describe.skipIf(reason !== null)(titleOf('docker-registry', reason), () => {
  it('that is open to all', async () => {
    const registry = await DockerRegistry.start(join(folder, 'open'));
    try {
      const theirs = {
        from: ['--src-tls-verify=false'],
        to: ['--dest-tls-verify=false'],
        inspect: ['--tls-verify=false'],
      };
      await checkRoundTrip({ host: registry.host, flags: [], theirs });
      const absent = await failureOf(['verify', `docker://${registry.host}/team/app:nothing`]);
      expect(absent.exitCode).toBe(1);
      expect(absent.text).toMatch(/not in the registry \(tags there: .*\berofs\b/);
    } finally {
      await registry.stop();
    }
  });

  it('with passwords', async () => {
    const registry = await DockerRegistry.start(join(folder, 'passwords'), {
      htpasswd: `${user.name}:${passwordHash}\n`,
    });
    try {
      const { host } = registry;
      const theirs = {
        from: ['--src-tls-verify=false', ...credentials('src-')],
        to: ['--dest-tls-verify=false', ...credentials('dest-')],
        inspect: ['--tls-verify=false', ...credentials('')],
      };
      await checkRoundTrip({ host, flags: ['--authfile', await logIn('good.json', host)], theirs });
      const nobody = await failureOf(['verify', `docker://${host}/team/app:erofs`]);
      expect(nobody).toMatchObject({
        exitCode: 1,
        text: expect.stringContaining(`no credentials for ${host} in `) as string,
      });
      const bad = await logIn('bad.json', host, 'nonsense');
      const wrong = await failureOf(['verify', `docker://${host}/team/app:erofs`, '--authfile', bad]);
      expect(wrong).toMatchObject({
        exitCode: 1,
        text: expect.stringContaining(`the credentials of ${bad} were used`) as string,
      });
    } finally {
      await registry.stop();
    }
  });

  it('with TLS by an authority of its own', async () => {
    const certificates = join(folder, 'certificates');
    await mkdir(certificates);
    const authority = new Authority(certificates);
    const registry = await DockerRegistry.start(join(folder, 'tls'), { tls: authority.issue('registry') });
    try {
      const { host } = registry;
      const certDir = join(folder, 'cert-dir');
      await mkdir(certDir);
      await writeFile(join(certDir, 'ca.crt'), authority.own.cert);
      const theirs = {
        from: ['--src-cert-dir', certDir],
        to: ['--dest-cert-dir', certDir],
        inspect: ['--cert-dir', certDir],
      };
      await checkRoundTrip({ host, flags: ['--cert-dir', certDir], theirs });
      for (const flags of [[], ['--insecure-http']]) {
        const distrusted = await failureOf(['verify', `docker://${host}/team/app:erofs`, ...flags]);
        expect(distrusted).toMatchObject({
          exitCode: 1,
          text: expect.stringContaining('--cert-dir DIR') as string,
        });
      }
    } finally {
      await registry.stop();
    }
  });

  it('with a token server, whose tokens expire soon', async () => {
    const certificates = join(folder, 'token-certificates');
    await mkdir(certificates);
    const { own } = new Authority(certificates);
    const certificate = new X509Certificate(own.cert).raw.toString('base64');
    const tokens = await TokenServer.start('test', { key: createPrivateKey(own.key), certificate });
    tokens.lifetime = 2;
    const token = { realm: tokens.realm, service: 'test', certFile: own.certFile };
    const registry = await DockerRegistry.start(join(folder, 'token'), { token });
    try {
      const { host } = registry;
      const theirs = {
        from: ['--src-tls-verify=false', ...credentials('src-')],
        to: ['--dest-tls-verify=false', ...credentials('dest-')],
        inspect: ['--tls-verify=false', ...credentials('')],
      };
      await checkRoundTrip({ host, flags: ['--authfile', await logIn('good.json', host)], theirs });
      // Anybody may read, but not write.
      expect(await documentOf(['verify', `docker://${host}/team/app:erofs`], { env })).toMatchObject({
        ok: true,
      });
      const push = ['convert', `docker://${host}/team/app:erofs`, `docker://${host}/team/theirs:1`];
      expect(await failureOf(push)).toMatchObject({
        exitCode: 1,
        text: expect.stringContaining('log in with') as string,
      });
    } finally {
      await registry.stop();
      await tokens.stop();
    }
  });
});
