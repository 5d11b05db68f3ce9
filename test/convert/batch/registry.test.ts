import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { convertBatch } from '../../../src/convert/batch/batch';
import { verifyImage } from '../../../src/image/verify';
import { digestOf, home, registry, types, useRegistry } from '../../store/registry/sample';
import { tarBytes } from '../../support/tar-bytes';

useRegistry();

/** Puts an image of a base, which all have, and a layer of its own. */
function putImage(repository: string, tag: string): void {
  const layers = ['base', `${repository}:${tag}`].map((content) => {
    const tar = tarBytes([{ name: 'file', content: content.repeat(1000) }]);
    const blob = gzipSync(tar);
    const digest = registry.putBlob(repository, blob);
    return { mediaType: `${types.layer}+gzip`, digest, size: blob.length, diffId: digestOf(tar) };
  });
  const config = Buffer.from(
    JSON.stringify({
      os: 'linux',
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    }),
  );
  const digest = registry.putBlob(repository, config);
  registry.putManifest(repository, tag, types.manifest, {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: { mediaType: types.config, digest, size: config.length },
    layers: layers.map(({ mediaType, digest: blob, size }) => ({ mediaType, digest: blob, size })),
  });
}

/** A catalogue of these repositories; tags as the registry has them. */
function serveCatalogue(repositories: string[]): void {
  registry.misbehave = ({ path }, response) => {
    if (path !== '_catalog') return false;
    response.end(JSON.stringify({ repositories }));
    return true;
  };
}

test('a template over a registry: every image that is there, and of those that come later, these alone', async () => {
  const images: [string, string][] = [
    ['app', '1.0'],
    ['app', '1.1'],
    ['team/web', '1.0'],
    ['other', '1.0'],
  ];
  for (const [repository, tag] of images) putImage(repository, tag);
  serveCatalogue(['app', 'other', 'team/web']);
  const out = join(home, 'out');
  const list = join(home, 'list.yaml');
  writeFileSync(
    list,
    `- source: docker://${registry.host}/{repo}:{tag}\n  destination: oci:${out}:{repo}-{tag}\n  repos: [app, 'team/*']\n`,
  );
  const first = await convertBatch(list, { tmpDir: home });
  expect(first.jobs.map(({ destination, status }) => [destination, status])).toEqual(
    ['app-1.0', 'app-1.1', 'team/web-1.0'].map((name) => [`oci:${out}:${name}`, 'done']),
  );
  expect(first.summary).toMatchObject({ done: 3, layers: 6, distinctLayers: 4 });
  for (const { destination } of first.jobs)
    expect(await verifyImage(destination)).toMatchObject({ ok: true });
  putImage('app', '1.2');
  const second = await convertBatch(list, { tmpDir: home });
  expect(second.jobs.map(({ status }) => status)).toEqual(['skipped', 'skipped', 'done', 'skipped']);
});

test('into a registry: the base is pushed once into each repository', async () => {
  for (const tag of ['a', 'b', 'c']) putImage('app', tag);
  const list = join(home, 'list.json');
  const source = `docker://${registry.host}/app:{tag}`;
  writeFileSync(list, JSON.stringify([{ source, destination: `docker://${registry.host}/app:{tag}-erofs` }]));
  const { jobs, summary } = await convertBatch(list, { tmpDir: home });
  expect(jobs.map(({ status }) => status)).toEqual(['done', 'done', 'done']);
  expect(summary).toMatchObject({ layers: 6, distinctLayers: 4 });
  for (const { destination } of jobs) expect(await verifyImage(destination)).toMatchObject({ ok: true });
  const pushed = registry.calls.filter(
    ({ method, path }) => method === 'PUT' && path.includes('/blobs/uploads/'),
  );
  const digests = pushed.map(({ query }) => query.get('digest'));
  expect(digests).toHaveLength(new Set(digests).size);
});
