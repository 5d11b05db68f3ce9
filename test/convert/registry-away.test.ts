import { gzipSync } from 'node:zlib';
import { afterEach, expect, test, vi } from 'vitest';
import { convertImage } from '../../src/convert/image';
import { digestOf, home, registry, types, useRegistry } from '../store/registry/sample';
import { caught } from '../support/caught';
import { tarBytes } from '../support/tar-bytes';

useRegistry();
afterEach(() => vi.unstubAllEnvs());

/** More requests in a row than five attempts get over. */
const outage = 12;

function putImage(): void {
  const tar = tarBytes([{ name: 'file', content: 'content' }]);
  const blob = gzipSync(tar);
  const platform = { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch };
  const rootfs = { type: 'layers', diff_ids: [digestOf(tar)] };
  const config = Buffer.from(JSON.stringify({ ...platform, rootfs }));
  const describe = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: registry.putBlob('app', bytes),
    size: bytes.length,
  });
  registry.putManifest('app', 'v1', types.manifest, {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: describe(types.config, config),
    layers: [describe(`${types.layer}+gzip`, blob)],
  });
}

const convert = (tag: string, retryTime?: number) =>
  convertImage(`docker://${registry.host}/app:v1`, `docker://${registry.host}/new:${tag}`, {
    tmpDir: home,
    retryTime,
    concurrency: 1,
    retry: { firstPause: 1, maxPause: 4 },
  });

/** Breaks every connection from request `start` on, `outage` times; returns how many there were in all. */
function goAway(start: number): () => number {
  let requests = 0;
  registry.misbehave = (_call, response) => {
    const isAway = ++requests >= start && requests < start + outage;
    if (isAway) response.destroy();
    return isAway;
  };
  return () => requests;
}

test('a registry that is away for a while, whenever that is, does not end a conversion', async () => {
  putImage();
  const counted = goAway(Infinity);
  const { digest } = await convert('whole');
  const requests = counted();
  expect(requests).toBeGreaterThan(8);
  // The first request asks which protocol is spoken here.
  for (let start = 2; start <= requests; start++) {
    registry.manifests.delete('new v');
    goAway(start);
    expect((await convert('v')).digest, `from request ${start} on`).toBe(digest);
  }
});

test('a retry time of 0 tries once', async () => {
  putImage();
  goAway(2);
  const { code } = await caught(() => convert('v', 0));
  expect(code).toBe('IO');
});

test('a retry time of the environment or a configuration is that of conversions, too', async () => {
  vi.stubEnv('SEEKABLE_EROFS_RETRY_TIME', '0');
  putImage();
  goAway(2);
  const { code } = await caught(() => convert('v'));
  expect(code).toBe('IO');
});
