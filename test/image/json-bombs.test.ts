import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { convertBatch } from '../../src/convert/batch/batch';
import { convertImage } from '../../src/convert/image';
import { parseDmveritySidecar } from '../../src/format/dmverity-sidecar';
import { checkImage } from '../../src/image/check/check';
import { inspect } from '../../src/image/inspect';
import { listImage } from '../../src/image/list';
import { verifyImage } from '../../src/image/verify';
import { blobPath, makeTar, sha256, writeLayout } from '../e2e/sample';
import { registry, types, useRegistry } from '../store/registry/sample';
import { caught } from '../support/caught';

useRegistry();

const bombs = {
  wide: Buffer.alloc(40 << 20, '['),
  deep: Buffer.from(`${'['.repeat(32_000)}${']'.repeat(32_000)}`),
  deepMember: Buffer.from(`{"schemaVersion":2,"x":${'{"a":'.repeat(100)}1${'}'.repeat(100)}}`),
};
const refusal =
  /^(\d+ bytes of JSON, the limit is \d+|JSON nested deeper than 64 levels|.* bytes where at most \d+ make sense)$/;

let root: string;
let number = 0;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'json-bombs-'));
});
afterAll(() => rm(root, { recursive: true }));

const oci = 'application/vnd.oci.image';

/** A layout in which `where` is these bytes, and what leads there is right. */
async function layoutWith(where: string, bomb: Buffer): Promise<string> {
  const dir = join(root, `${number++}`);
  await writeLayout(dir, [await makeTar([{ name: 'file', content: 'content' }])]);
  const put = async (mediaType: string, bytes: Buffer) => {
    await writeFile(blobPath(dir, sha256(bytes)), bytes);
    return { mediaType, digest: sha256(bytes), size: bytes.length };
  };
  const putJson = (mediaType: string, value: object) => put(mediaType, Buffer.from(JSON.stringify(value)));
  const index = async (manifest: object) =>
    writeFile(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [manifest] }));
  if (where === 'index.json' || where === 'oci-layout') await writeFile(join(dir, where), bomb);
  if (where === 'index') await index(await put(`${oci}.index.v1+json`, bomb));
  if (where === 'manifest') await index(await put(`${oci}.manifest.v1+json`, bomb));
  if (where === 'config') {
    const config = await put(`${oci}.config.v1+json`, bomb);
    await index(await putJson(`${oci}.manifest.v1+json`, { schemaVersion: 2, config, layers: [] }));
  }
  return dir;
}

const places = ['index.json', 'oci-layout', 'index', 'manifest', 'config'];

describe.each(Object.entries(bombs))('a bomb of JSON, %s,', (_, bomb) => {
  test.each(places)('is refused before it is parsed: %s of a layout', async (where) => {
    const ref = `oci:${await layoutWith(where, bomb)}`;
    const calls: (() => Promise<unknown>)[] = [
      () => convertImage(ref, `oci:${join(root, `${number++}`)}:x`),
      () => inspect(ref),
      () => verifyImage(ref),
      () => checkImage(ref, ref),
      () => listImage(ref),
      () => convertImage(ref, `${ref}:x`),
    ];
    for (const call of calls) {
      const { code, why } = await caught(call);
      expect([code, why]).toEqual(['UNSUPPORTED', expect.stringMatching(refusal)]);
    }
  });

  test.each(['manifest.json', 'repositories', 'index.json'])('is refused: %s of an archive', async (name) => {
    const file = join(root, `${number++}.tar`);
    await writeFile(
      file,
      await makeTar([
        { name: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' },
        { name, content: bomb },
      ]),
    );
    const transport = name === 'index.json' ? 'oci-archive' : 'docker-archive';
    const { code } = await caught(() => inspect(`${transport}:${file}`));
    expect(code).toBe('UNSUPPORTED');
  });

  test('is refused as a manifest or config of a registry', async () => {
    registry.putManifest('team/app', 'bomb', types.manifest, bomb);
    const config = { mediaType: types.config, digest: registry.putBlob('team/app', bomb), size: bomb.length };
    const manifest = { schemaVersion: 2, mediaType: types.manifest, config, layers: [] };
    registry.putManifest('team/app', 'config', types.manifest, manifest);
    for (const tag of ['bomb', 'config']) {
      const { code, why } = await caught(() => inspect(`docker://${registry.host}/team/app:${tag}`));
      expect([code, why]).toEqual(['UNSUPPORTED', expect.stringMatching(refusal)]);
    }
  });

  test('says nothing as the body of an error', async () => {
    registry.misbehave = (_call, response) => {
      response.writeHead(403, { 'content-type': 'application/json' });
      response.end(bomb.toString().replace(/^/, '{"errors":[{"code":"DENIED","detail":').concat('}]}'));
      return true;
    };
    const error = await caught(() => inspect(`docker://${registry.host}/team/app:x`));
    expect([error.code, error.why]).toEqual(['IO', 'the server answers with status 403']);
  });

  test('is no token', async () => {
    const server = createServer((_request, response) => response.end(bomb));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const realm = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
    registry.misbehave = (_call, response) => {
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}"` }).end();
      return true;
    };
    try {
      const { code } = await caught(() => inspect(`docker://${registry.host}/team/app:x`));
      expect(code).toMatch(/^(CORRUPT|UNSUPPORTED)$/);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  test('is no sidecar, and no line of a journal', async () => {
    expect((await caught(() => parseDmveritySidecar(bomb.toString()))).code).toBe('CORRUPT');
    const list = join(root, `${number++}.json`);
    await writeFile(list, JSON.stringify([{ source: 'oci:a', destination: 'oci:b' }]));
    const header = '{"format":"seekable-erofs batch journal","version":1}';
    await writeFile(`${list}.journal`, `${header}\n${bomb.toString()}\n`);
    expect(await caught(() => convertBatch(list))).toMatchObject({
      code: 'CORRUPT',
      why: 'line 2 is damaged',
    });
  });
});
