import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { runCli } from '../e2e/run-cli';
import { at } from '../e2e/workspace';
import { refusal } from '../support/refusal';
import { titleOf, whyNoMounts } from './support/machine';
import {
  expectNothingLeft,
  library,
  options,
  state,
  threeLayers,
  useMounts,
  writeImage,
} from './support/mounting';

// The claim: every mount checks what its own descriptors say, also when the layers were decoded for another one before.

useMounts();

const reason = whyNoMounts();
const { mountImage, unmountImage } = library;

interface Document {
  manifests?: { digest: string; size: number }[];
  layers?: { annotations: Record<string, string> }[];
}

/** Rewrites the annotations of all layers in the only manifest of a layout, and what names it. */
function annotate(name: string, change: (annotations: Record<string, string>) => void): void {
  const read = (path: string) => JSON.parse(readFileSync(at(`${name}/${path}`), 'utf8')) as Document;
  const index = read('index.json');
  const manifest = read(join('blobs', index.manifests![0]!.digest.replace(':', '/')));
  for (const { annotations } of manifest.layers!) change(annotations);
  const bytes = JSON.stringify(manifest);
  const hex = createHash('sha256').update(bytes).digest('hex');
  writeFileSync(at(`${name}/blobs/sha256/${hex}`), bytes);
  Object.assign(index.manifests![0]!, { digest: `sha256:${hex}`, size: Buffer.byteLength(bytes) });
  writeFileSync(at(`${name}/index.json`), JSON.stringify(index));
}

const rootName = 'dev.containerd.erofs.dmverity.root_digest';
const offsetName = 'dev.containerd.erofs.dmverity.offset';
const tableName = 'dev.containerd.erofs.zstd.chunk_digest';

describe.skipIf(reason !== null)(titleOf('layers that another mount has', reason), () => {
  let good: string;
  let other: string;
  beforeEach(async () => {
    good = await writeImage('good', [threeLayers[0]!]);
    other = await writeImage('other', [threeLayers[0]!]);
  });

  test.each([rootName, tableName])('a wrong %s is found', async (annotation) => {
    await mountImage(good, at('target'), options());
    annotate('other', (annotations) => {
      annotations[annotation] = `sha512:${'0'.repeat(128)}`;
    });
    for (let attempt = 0; attempt < 2; attempt++)
      await expect(mountImage(other, at('second'), options())).rejects.toThrow(refusal('MISMATCH'));
    await unmountImage(at('target'), { state });
    await expectNothingLeft();
  });

  test('are not read again for a descriptor that was asked, also when no mount has them any more', async () => {
    await mountImage(good, at('target'), options());
    const phases: string[] = [];
    const onProgress = ({ phase }: { phase: string }) => phases.push(phase);
    await mountImage(good, at('second'), options({ onProgress }));
    expect(new Set(phases)).toEqual(new Set(['mount']));
    await unmountImage(at('second'), { state });
    await unmountImage(at('target'), { state });
    await mountImage(good, at('third'), options({ onProgress }));
    expect(new Set(phases)).toEqual(new Set(['mount']));
    await unmountImage(at('third'), { state });
    await expectNothingLeft();
  });

  test('a descriptor stripped of its tree is warned of, at each mount; its name is the image’s', async () => {
    annotate('other', (annotations) => {
      for (const name of [rootName, offsetName]) expect(Reflect.deleteProperty(annotations, name)).toBe(true);
    });
    for (const target of ['target', 'second']) {
      const { exitCode, stderr } = await runCli(['mount', other, at(target), '--state', state]);
      expect(stderr).toContain(`warning: ${other}: sha256:`);
      expect(stderr).toMatch(/no descriptor vouches for its dm-verity tree: it is mounted without it/);
      expect(exitCode).toBe(0);
    }
    const silent = await runCli(['mount', other, at('third'), '--state', state, '--verity', 'off', '--json']);
    expect([silent.exitCode, silent.stderr]).toEqual([0, '']);
    const required = await runCli(['mount', other, at('fourth'), '--state', state, '--verity', 'require']);
    expect(required.exitCode).toBe(1);
    for (const target of ['target', 'second', 'third']) await unmountImage(at(target), { state });
    await expectNothingLeft();
  });
});
