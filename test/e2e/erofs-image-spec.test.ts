import { mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LayoutBuilder } from '../conformance/support/image';
import { checkCleanLayout } from '../conformance/support/layout-check';
import { tarBytes } from '../support/tar-bytes';
import { runCli, runJson } from './run-cli';

let folder: string;
const at = (name: string): string => join(folder, name);
const profile = ['--profile', 'erofs-image-spec'];
const content = 'a line\n'.repeat(20_000);
const tar = tarBytes([
  { name: 'dir/', type: '5', mode: 0o755 },
  { name: 'dir/file', content },
]);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'e2e-spec-'));
  writeFileSync(at('layer.tar'), tar);
  const builder = new LayoutBuilder(at('source'));
  builder.name(builder.image([builder.tarLayer(tar), builder.tarLayer(tarBytes([{ name: 'top' }]))]));
});
afterAll(() => rm(folder, { recursive: true }), 60_000);

interface Encoded {
  mediaType: string;
  size: number;
  annotations: Record<string, string>;
  diffId: string;
}

describe.each([[[]], [['--no-compress']]])('encode %j', (more) => {
  test('writes a blob that every command reads', async () => {
    const name = `blob${more.length}`;
    const flags = [...profile, ...more, '--chunk-size', '64KiB', '--dm-verity'];
    const encoded = await runJson<Encoded>(['encode', at('layer.tar'), at(name), ...flags]);
    expect(encoded.exitCode).toBe(0);
    const { mediaType, annotations, diffId, size } = encoded.document;
    expect(mediaType).toBe(more.length === 0 ? 'application/vnd.erofs+zstd' : 'application/vnd.erofs');
    writeFileSync(at(`${name}.json`), encoded.stdout);
    const descriptor = ['--descriptor', at(`${name}.json`)];

    const decoded = await runJson(['decode', at(name), at(`${name}.image`), '--dm-verity', ...descriptor]);
    const hashOffset = Number(annotations['org.erofs.dmverity.hash_offset']);
    const rootDigest = annotations['org.erofs.dmverity.root_digest']!;
    expect(decoded.document).toMatchObject({ diffId, dmverity: { rootDigest, hashOffset } });
    const sidecar = JSON.parse(readFileSync(at(`${name}.image.dmverity`), 'utf8')) as object;
    expect(sidecar).toEqual({ roothash: rootDigest.replace('sha256:', ''), hashoffset: hashOffset });

    const verified = await runJson(['verify', at(name), ...descriptor]);
    expect(verified.document).toMatchObject({ ok: true, layers: [{ diffId, merkle: 'ok' }] });
    const inspected = await runJson(['inspect', at(name), ...descriptor]);
    const [start, end] = annotations['org.erofs.chunk-index.range']!.split(':').map(Number);
    expect(end).toBe(size);
    expect(inspected.document).toMatchObject({
      profile: 'erofs-image-spec',
      table: { offset: start, chunkSize: 65536, hashAlgorithm: 'sha512' },
      dmverity: { offset: hashOffset, rootDigest, hashAlgorithm: 'sha256', salt: '00'.repeat(32) },
    });
    const listed = await runJson<{ path: string }[]>(['ls', at(name), '/dir', ...descriptor]);
    expect(listed.document.map(({ path }) => path)).toEqual(['/dir/file']);
    const printed = await runCli(['cat', at(name), '/dir/file', ...descriptor]);
    expect(printed.stdout.toString()).toBe(content);
    const extracted = await runCli(['extract', at(name), at(`${name}.tree`), ...descriptor]);
    expect(extracted.exitCode).toBe(0);
    expect(readFileSync(at(`${name}.tree/dir/file`), 'utf8')).toBe(content);
    expect((await runCli(['check', at('layer.tar'), at(name), ...descriptor])).exitCode).toBe(0);
  });
});

test.each([[[]], [['--index', 'standalone']], [['--no-compress', '--index', 'standalone', '--dm-verity']]])(
  'convert %j: the image is whole',
  async (more) => {
    const to = `oci:${at(`image${more.length}`)}:new`;
    const converted = await runJson(['convert', `oci:${at('source')}:image`, to, ...profile, ...more]);
    expect(converted.exitCode).toBe(0);
    expect(checkCleanLayout(at(`image${more.length}`))).toEqual(['new']);
    expect((await runCli(['verify', to])).exitCode).toBe(0);
    expect((await runCli(['check', `oci:${at('source')}:image`, to])).exitCode).toBe(0);
    expect((await runCli(['cat', to, '/dir/file'])).stdout.toString()).toBe(content);
    const top = await runJson<{ path: string }[]>(['ls', to, '/', '--one-layer', '1']);
    expect(top.document.map(({ path }) => path)).toEqual(['/top']);
  },
);

test.each([
  ['encode', ['--index', 'embedded'], 'profile containerd'],
  ['encode', ['--no-compress'], 'profile containerd'],
  ['encode', [...profile, '--index', 'standalone'], 'see convert'],
  ['encode', [...profile, '--index', 'elsewhere'], 'embedded'],
  ['encode', ['--profile', 'other'], 'erofs-image-spec'],
  ['encode', ['--dm-verity', '--dm-verity-hash', 'sha256'], 'sha512'],
  ['convert', ['--index', 'standalone'], 'profile containerd'],
  ['convert', ['--profile', 'containerd', '--no-compress'], 'profile containerd'],
])('%s %j is wrong usage', async (command, flags, hint) => {
  const paths =
    command === 'encode' ? [at('layer.tar'), at('none')] : [`oci:${at('source')}:image`, `oci:${at('none')}`];
  const run = await runCli([command, ...paths, ...flags]);
  expect(run.exitCode).toBe(2);
  expect(run.stderr).toContain(hint);
  expect(readdirSync(folder)).not.toContain('none');
});
