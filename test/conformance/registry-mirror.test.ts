import { spawn, execFile, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CachedImageStatus } from '../../src/index';
import { documentOf } from '../e2e/run-cli';
import { at } from '../e2e/workspace';
import { harm, local, proxy, reference, registry, useLazyImage, whyNoLazyMounts } from './support/lazy-image';
import { titleOf } from './support/machine';
import { root, state, useMounts } from './support/mounting';
import { freePort } from '../support/free-port';

// The claim: `serve --registry` hands on what the named registries have, checked and unchanged, and nothing else; images of ours are in the
// cache before their manifest's answer ends.

useMounts();

const exec = promisify(execFile);
const reason = whyNoLazyMounts();

let port: number;
let server: ChildProcess;

interface Answer {
  status: number;
  /** What stands behind it. */
  phrase: string;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

/** Asks the mirror; rejects when the connection is cut. */
async function ask(
  path: string,
  { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asking = request({ host: '127.0.0.1', port, path, method, headers }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.on('error', reject);
      response.on('close', () => {
        if (!response.complete) reject(new Error('cut off'));
        const { statusCode, statusMessage, headers } = response;
        resolve({ status: statusCode!, phrase: statusMessage!, headers, body: Buffer.concat(pieces) });
      });
    });
    asking.on('error', reject);
    asking.end();
  });
}

const get = (path: string, headers: Record<string, string> = {}) =>
  ask(`/v2/image/${path}?ns=${proxy.host}`, { headers: { accept, ...headers } });
const accept = ['application/vnd.oci.image.index.v1+json', 'application/vnd.oci.image.manifest.v1+json'].join(
  ', ',
);
const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const shown = () => documentOf<CachedImageStatus[]>(['lazy', 'ls', '--state', state]);
const errorOf = ({ status, body }: Answer): [number, string] => [
  status,
  (JSON.parse(body.toString()) as { errors: { code: string }[] }).errors[0]!.code,
];

const credentials = 'mirror:of its own';

interface Descriptor {
  digest: string;
  size: number;
}

/** What the upstream is asked from now on: method and path. */
function upstreamRequests(): () => string[] {
  const lines: string[] = [];
  proxy.deny = ({ method, url }) => {
    lines.push(`${method} ${url!.split('?')[0]}`);
    return null;
  };
  return () => [...lines];
}

/** Copies the only image of an OCI layout to `NAME:v1`, as it is. */
async function pushLayout(folder: string, name: string): Promise<void> {
  const flags = ['copy', '--quiet', '--dest-tls-verify=false', '--insecure-policy'];
  await exec('skopeo', [...flags, `oci:${folder}:image`, `docker://${registry.host}/${name}:v1`]);
}

/** Makes `NAME:v1` an index of the image `local` for this machine, and of one for another. */
async function pushIndexOf(name: string): Promise<void> {
  await pushLayout(local.replace(/^oci:(.*):image$/, '$1'), name);
  const at = (reference: string) => `http://${registry.host}/v2/${name}/manifests/${reference}`;
  const answer = await fetch(at('v1'), { headers: { accept } });
  const bytes = Buffer.from(await answer.arrayBuffer());
  const mediaType = answer.headers.get('content-type')!;
  const entry = (architecture: string) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
    platform: { os: 'linux', architecture },
  });
  const architecture = { x64: 'amd64' }[process.arch as string] ?? process.arch;
  const body = JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [entry('s390x'), entry(architecture)],
  });
  const headers = { 'content-type': 'application/vnd.oci.image.index.v1+json' };
  expect((await fetch(at('v1'), { method: 'PUT', headers, body })).status).toBe(201);
}

/** Makes `image:wrong` of the image, the table of one of its layers said to be another. */
async function pushWrongImage(): Promise<Buffer> {
  const at = (reference: string) => `http://${registry.host}/v2/image/manifests/${reference}`;
  const answer = await fetch(at('latest'), { headers: { accept } });
  const manifest = (await answer.json()) as { layers: { annotations: Record<string, string> }[] };
  const digest = `sha512:${'0'.repeat(128)}`;
  manifest.layers[3]!.annotations['dev.containerd.erofs.zstd.chunk_digest'] = digest;
  const body = Buffer.from(JSON.stringify(manifest));
  const headers = { 'content-type': answer.headers.get('content-type')! };
  expect((await fetch(at('wrong'), { method: 'PUT', headers, body })).status).toBe(201);
  return body;
}

describe.skipIf(reason !== null)(titleOf('serve --registry', reason), () => {
  useLazyImage();
  beforeEach(async () => {
    port = await freePort();
    const auths = { [proxy.host]: { auth: Buffer.from(credentials).toString('base64') } };
    writeFileSync(at('auth.json'), JSON.stringify({ auths }), { mode: 0o600 });
    const flags = ['--background', 'off', '--erofs-cache', at('cache'), '--state', state];
    const mirror = [
      '--authfile',
      at('auth.json'),
      '--registry',
      `127.0.0.1:${port}`,
      '--upstream',
      proxy.host,
      '--upstream',
      'registry.invalid',
    ];
    server = spawn(process.execPath, [join(root, 'dist/cli/main.js'), 'serve', ...flags, ...mirror], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    server.stderr!.on('data', (piece: Buffer) => (said += piece.toString()));
    while (!said.includes('serving on') && server.exitCode === null) await sleep(20);
  });
  afterEach(async () => {
    if (server.exitCode !== null) return;
    const ended = once(server, 'exit');
    server.kill('SIGTERM');
    await ended;
  });

  test('manifests, configs, blobs, parts of them, tags and referrers go through unchanged', async () => {
    const manifest = await get('manifests/latest');
    const digest = digestOf(manifest.body);
    expect([manifest.status, manifest.headers['docker-content-digest']]).toEqual([200, digest]);
    const direct = await fetch(`http://${registry.host}/v2/image/manifests/latest`, { headers: { accept } });
    expect(manifest.body.equals(Buffer.from(await direct.arrayBuffer()))).toBe(true);
    expect(manifest.headers['content-type']).toBe(direct.headers.get('content-type'));
    const head = await ask(`/v2/image/manifests/${digest}?ns=${proxy.host}`, {
      method: 'HEAD',
      headers: { accept },
    });
    expect([head.status, head.headers['docker-content-digest'], head.body.length]).toEqual([200, digest, 0]);
    const { config, layers } = JSON.parse(manifest.body.toString()) as {
      config: Descriptor;
      layers: Descriptor[];
    };
    for (const blob of [config, layers[0]!]) {
      const whole = await get(`blobs/${blob.digest}`);
      expect([whole.status, digestOf(whole.body)]).toEqual([200, blob.digest]);
      const part = await get(`blobs/${blob.digest}`, { range: 'bytes=5-14' });
      expect([part.status, part.headers['content-range']]).toEqual([206, `bytes 5-14/${blob.size}`]);
      expect(part.body.equals(whole.body.subarray(5, 15))).toBe(true);
    }
    const tags = JSON.parse((await get('tags/list')).body.toString()) as { tags: string[] };
    expect(tags.tags).toContain('latest');
    expect((await ask('/v2/')).status).toBe(200);
    expect(errorOf(await get('manifests/nobody'))).toEqual([404, 'NAME_UNKNOWN']);
  });

  test('what is in the cache when the manifest has come: the image, and no other', async () => {
    expect(await shown()).toEqual([]);
    await get(`manifests/latest`);
    const [image, ...others] = await shown();
    expect([image!.reference, image!.layers.length, others]).toEqual([
      `docker://${proxy.host}/image:latest`,
      4,
      [],
    ]);
  });

  test('an index that a tag names: its tars are shown as the EROFS image beside them, those of no other index', async () => {
    const tars = local.replace(/local:image$/, 'tars:image');
    const both = `docker://${proxy.host}/both:v1`;
    await documentOf(['convert', tars, both, '--append-to-index']);
    const of = (path: string, method = 'GET') =>
      ask(`/v2/both/${path}?ns=${proxy.host}`, { method, headers: { accept } });
    const named = await of('manifests/v1', 'HEAD');
    const index = await of(`manifests/${named.headers['docker-content-digest'] as string}`);
    const { manifests } = JSON.parse(index.body.toString()) as { manifests: Descriptor[] };
    const [image] = await shown();
    expect([image?.reference, image?.digest]).toEqual([both, digestOf(index.body)]);
    const config = JSON.parse(
      (
        await exec('skopeo', [
          'inspect',
          '--config',
          '--tls-verify=false',
          `docker://${proxy.host}/both@${manifests[0]!.digest}`,
        ])
      ).stdout,
    ) as { rootfs: { diff_ids: string[] } };
    expect(image!.layers.map(({ diffId }) => diffId).slice(4)).toEqual(config.rootfs.diff_ids);
    for (const { digest } of manifests) await of(`manifests/${digest}`);
    expect(await shown()).toEqual([image]);
  });

  test('who has the manifest from before asks for the tag alone: its layers are in the cache, and nobody asks for it twice', async () => {
    const asked = upstreamRequests();
    const head = () =>
      ask(`/v2/image/manifests/latest?ns=${proxy.host}`, { method: 'HEAD', headers: { accept } });
    const { headers } = await head();
    const digest = headers['docker-content-digest'] as string;
    const [image] = await shown();
    expect([image?.reference, image?.layers.length]).toEqual([`docker://${proxy.host}/image:latest`, 4]);
    const manifests = ['HEAD /v2/image/manifests/latest', `GET /v2/image/manifests/${digest}`];
    expect(asked().filter((line) => line.includes('/manifests/'))).toEqual(manifests);
    const before = asked();
    const manifest = await get(`manifests/${digest}`);
    expect([digestOf(manifest.body), manifest.headers['docker-content-digest']]).toEqual([digest, digest]);
    expect(manifest.headers['content-type']).toBe(headers['content-type']);
    expect(asked()).toEqual(before);
    await documentOf(['lazy', 'rm', reference, '--state', state]);
    await head();
    expect(await shown()).toEqual([image]);
    expect(asked().filter((line) => line.includes('/manifests/'))).toEqual([...manifests, manifests[0]]);
  });

  test('the same of an index: the pair in it, or the image for this machine', async () => {
    const tars = local.replace(/local:image$/, 'tars:image');
    await documentOf(['convert', tars, `docker://${proxy.host}/pair:v1`, '--append-to-index']);
    await pushIndexOf('lone');
    for (const [name, layers] of [
      ['pair', 8],
      ['lone', 4],
    ] as const) {
      const asked = upstreamRequests();
      const of = (path: string, method = 'GET') =>
        ask(`/v2/${name}/${path}?ns=${proxy.host}`, { method, headers: { accept } });
      const named = await of('manifests/v1', 'HEAD');
      const found = (await shown()).find((image) => image.reference === `docker://${proxy.host}/${name}:v1`);
      expect([found?.digest, found?.layers.length]).toEqual([named.headers['docker-content-digest'], layers]);
      const before = asked();
      const { manifests } = JSON.parse((await of(`manifests/${found!.digest}`)).body.toString()) as {
        manifests: Descriptor[];
      };
      for (const { digest } of manifests)
        expect(digestOf((await of(`manifests/${digest}`)).body)).toBe(digest);
      expect(asked()).toEqual(before);
      expect((await shown()).filter((image) => image.reference.includes(`/${name}`))).toEqual([found]);
    }
  });

  test('of what is none of ours the manifest is read once, however often its tag is asked for', async () => {
    const tars = local.replace(/^oci:/, '').replace(/local:image$/, 'tars');
    await pushLayout(tars, 'plain');
    const asked = upstreamRequests();
    for (let i = 0; i < 3; i++)
      await ask(`/v2/plain/manifests/v1?ns=${proxy.host}`, { method: 'HEAD', headers: { accept } });
    expect(await shown()).toEqual([]);
    const head = 'HEAD /v2/plain/manifests/v1';
    expect(asked()).toEqual([head, expect.stringMatching(/^GET .v2.plain.manifests.sha256:/), head, head]);
  });

  test('an index by its digest alone is not believed', async () => {
    const tars = local.replace(/local:image$/, 'tars:image');
    await documentOf(['convert', tars, `docker://${proxy.host}/alone:v1`, '--append-to-index']);
    const direct = await fetch(`http://${registry.host}/v2/alone/manifests/v1`, { headers: { accept } });
    const index = Buffer.from(await direct.arrayBuffer());
    const of = (path: string) => ask(`/v2/alone/${path}?ns=${proxy.host}`, { headers: { accept } });
    await of(`manifests/${digestOf(index)}`);
    const { manifests } = JSON.parse(index.toString()) as { manifests: Descriptor[] };
    await of(`manifests/${manifests[0]!.digest}`);
    expect(await shown()).toEqual([]);
  });

  test('a blob that is not what its digest says is cut off, a manifest is refused', async () => {
    const { body } = await get('manifests/latest');
    const { layers } = JSON.parse(body.toString()) as { layers: Descriptor[] };
    harm('wrong bytes');
    await expect(get(`blobs/${layers[3]!.digest}`)).rejects.toThrow(/cut off|aborted|hang up|reset/);
  });

  test('an image that is not what its manifest says is refused, so that containerd asks nobody else for it', async () => {
    const wrong = await pushWrongImage();
    const head = await ask(`/v2/image/manifests/wrong?ns=${proxy.host}`, {
      method: 'HEAD',
      headers: { accept },
    });
    // As of any status below 400, containerd asks no other host after this one.
    expect([head.status, head.phrase]).toEqual([300, expect.stringContaining('chunk table: digest is')]);
    expect(errorOf(await get('manifests/wrong'))).toEqual([300, 'DENIED']);
    // Of a digest it asks the next host after any answer but one that began.
    await expect(get(`manifests/${digestOf(wrong)}`)).rejects.toThrow(/cut off|aborted|hang up|reset/);
    expect(await shown()).toEqual([]);
    expect((await get('manifests/latest')).status).toBe(200);
    expect(await shown()).toHaveLength(1);
  });

  test('what fails is not tried twice by one pull', async () => {
    let asked = 0;
    proxy.deny = ({ url }) => {
      if (!url!.includes('/blobs/')) return null;
      asked++;
      return 'Basic realm="test"';
    };
    const { headers } = await ask(`/v2/image/manifests/latest?ns=${proxy.host}`, {
      method: 'HEAD',
      headers: { accept },
    });
    expect(asked).toBeGreaterThan(0);
    const before = asked;
    const digest = headers['docker-content-digest'] as string;
    expect(digestOf((await get(`manifests/${digest}`)).body)).toBe(digest);
    expect(asked).toBe(before);
    expect(await shown()).toEqual([]);
  });

  test('no open proxy: other registries, methods, names and hosts are refused before anybody is asked', async () => {
    const path = '/v2/image/manifests/latest';
    const other = new URL(`http://${registry.host}`).host;
    const refusals = await Promise.all([
      ask(`${path}?ns=${other}`),
      ask(path),
      ask(`${path}?ns=${proxy.host}&ns=${other}`),
      ask(`${path}?ns=${proxy.host}%0d%0aHost:%20x`),
      ask(`${path}?ns=user@${proxy.host}`),
      ask(`${path}?ns=${proxy.host}`, { method: 'PUT' }),
      ask(`${path}?ns=${proxy.host}`, { method: 'DELETE' }),
      ask(`/v2/image/blobs/uploads/?ns=${proxy.host}`),
      ask(`/v2/../v2/image/manifests/latest?ns=${proxy.host}`),
      ask(`/v2/image/manifests/..%2f..%2fx?ns=${proxy.host}`),
      ask(`/v2/_catalog?ns=${proxy.host}`),
      ask(`${path}?ns=${proxy.host}`, { headers: { host: 'evil.example' } }),
      ask(`/v2/image/manifests/${'a'.repeat(9000)}?ns=${proxy.host}`),
    ]);
    expect(refusals.map(({ status }) => status)).toEqual([
      404, 404, 400, 404, 404, 405, 405, 404, 400, 400, 404, 421, 414,
    ]);
    for (const refusal of refusals) expect(errorOf(refusal)[1]).toMatch(/^[A-Z_]+$/);
  });

  test('credentials are its own: a client has none, and what it sends goes nowhere', async () => {
    const seen = new Set<string>();
    proxy.deny = ({ headers: { authorization } }) => {
      if (authorization !== undefined) seen.add(authorization);
      const isRight = authorization === `Basic ${Buffer.from(credentials).toString('base64')}`;
      return isRight ? null : 'Basic realm="test"';
    };
    const { status, body } = await get('manifests/latest', { authorization: 'Basic b2Y6Y2xpZW50' });
    expect(status).toBe(200);
    const { config } = JSON.parse(body.toString()) as { config: Descriptor };
    expect((await get(`blobs/${config.digest}`)).status).toBe(200);
    expect(await shown()).toHaveLength(1);
    expect([...seen]).toEqual([`Basic ${Buffer.from(credentials).toString('base64')}`]);
  });

  test('what the upstream refuses is refused, without its challenge', async () => {
    harm('status 401');
    const answer = await get('manifests/latest');
    expect([...errorOf(answer), answer.headers['www-authenticate']]).toEqual([403, 'DENIED', undefined]);
    harm('no connection');
    expect((await get('manifests/latest')).status).toBe(502);
  });
});
