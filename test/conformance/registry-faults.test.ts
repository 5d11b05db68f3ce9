import { writeSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { gzipSync } from 'node:zlib';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { convertImage, SeekableErofsError, type ConvertOptions } from '../../src/index';
import type { Descriptor, Manifest } from '../../src/oci/types';
import { RegistryDestination } from '../../src/store/registry/destination';
import type { StoreOptions } from '../../src/store/registry/options';
import { RegistrySource } from '../../src/store/registry/source';
import { makeTar, noise, writeLayout } from '../e2e/sample';
import { Random } from '../fuzz/random';
import { DockerRegistry } from '../support/docker-registry';
import { faults, FaultyProxy } from '../support/faulty-proxy';
import { refusal } from '../support/refusal';
import { digestOf } from './support/image';
import { titleOf, whyWithout } from './support/machine';

// The claim: whatever goes wrong on the way to a registry, a conversion ends right, or with an error that says so, and leaves nothing wrong.

const reason = whyWithout('docker-registry');
const rounds = 200;
const chunkSize = 4 << 20;
const uploadChunkSize = 40_000;
const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);

let folder: string;
let temporary: string;
let registry: DockerRegistry;
let proxy: FaultyProxy;
let random: Random;
const ending: (() => Promise<void>)[] = [];

/** What a fault costs must not be time. */
const options = (): StoreOptions => ({
  tmpDir: temporary,
  timeout: 20_000,
  retry: { attempts: 5, firstPause: 1, maxPause: 5 },
});

beforeAll(async () => {
  if (reason !== null) return;
  console.log(`seed ${seed} (FAULT_SEED=${seed} does the same again)`);
  folder = await mkdtemp(join(tmpdir(), 'registry-faults-'));
  ending.push(() => rm(folder, { recursive: true }));
  temporary = join(folder, 'tmp');
  await mkdir(temporary);
  vi.stubEnv('HOME', folder);
  vi.stubEnv('XDG_RUNTIME_DIR', folder);
  random = new Random(seed, 0);
  // So that the sample's blobs take several requests, and their upload begins before the layers are known to be right.
  const open = RegistryDestination.open.bind(RegistryDestination);
  vi.spyOn(RegistryDestination, 'open').mockImplementation((reference, given) =>
    open(reference, { ...given, uploadChunkSize }),
  );
  registry = await DockerRegistry.start(join(folder, 'registry'));
  ending.push(() => registry.stop());
  proxy = await FaultyProxy.start(registry.host, () => random.below(2 ** 32) / 2 ** 32);
  ending.push(() => proxy.stop());
});

afterAll(async () => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  for (const end of ending.reverse()) await end();
});

/** Puts an image of three layers into the registry, without faults, as `team/app:tar`. */
async function putSample(): Promise<void> {
  const tars = await Promise.all(
    [150_000, 1000, 90_000].map((size, i) =>
      makeTar([{ name: `file-${i}`, content: noise(size, `layer ${i}`) }]),
    ),
  );
  const layout = join(folder, 'layout');
  await writeLayout(layout, tars);
  const read = (digest: string) => readFile(join(layout, 'blobs/sha256', digest.slice(7)));
  const index = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')) as { manifests: Descriptor[] };
  const root = index.manifests[0]!;
  const bytes = await read(root.digest);
  const manifest = JSON.parse(bytes.toString()) as Manifest;
  const store = await RegistryDestination.open(
    { transport: 'docker', host: registry.host, repository: 'team/app' },
    options(),
  );
  for (const part of [manifest.config, ...manifest.layers])
    await store.writeBlob(part, await read(part.digest));
  await store.writeBlob(root, bytes);
  await store.setReference('tar', root);
  await store.close();
}

/** The digest under a tag, asked for without the proxy; null when there is none. */
async function tagged(repository: string): Promise<string | null> {
  const answer = await fetch(`http://${registry.host}/v2/${repository}/manifests/erofs`, {
    headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
  });
  if (answer.status === 404) return null;
  return digestOf(Buffer.from(await answer.arrayBuffer()));
}

const convert = (host: string, repository: string, asked: ConvertOptions) =>
  convertImage(`docker://${host}/team/app:tar`, `docker://${host}/${repository}:erofs`, {
    ...options(),
    ...asked,
    threads: 1,
  });

/** Requests with a part of a blob that were made before its digest was known. */
let early = 0;

/** Writes a blob in pieces, which are sent meanwhile, and commits it, or now and then gives it up. */
async function sendSlowly(bytes: Buffer): Promise<string> {
  const place = { transport: 'docker', host: proxy.host, repository: 'team/early' } as const;
  const store = await RegistryDestination.open(place, options());
  try {
    const draft = await store.createBlob();
    const before = proxy.asked.length;
    for (let size = 0; size < bytes.length;) {
      const piece = bytes.subarray(size, size + 1 + random.below(uploadChunkSize));
      writeSync(draft.fd, piece, 0, piece.length, size);
      size += piece.length;
      draft.onWritten!(size);
      await setTimeout(random.below(8));
    }
    early += proxy.asked.slice(before).filter((method) => method === 'PATCH').length;
    if (random.below(8) === 0) {
      await draft.discard();
      return 'given up';
    }
    await draft.commit({
      mediaType: 'application/octet-stream',
      digest: digestOf(bytes),
      size: bytes.length,
    });
    await store.close();
    return 'right';
  } catch (error) {
    await store.abort();
    throw error;
  }
}

/** Files without a name that this process holds open. */
async function openTemporaries(): Promise<string[]> {
  const names = await readdir('/proc/self/fd');
  const targets = await Promise.all(
    names.map((name) => readlink(join('/proc/self/fd', name)).catch(() => '')),
  );
  return targets.filter((target) => target.startsWith(temporary));
}

describe.skipIf(reason !== null)(titleOf('a registry behind faults', reason), () => {
  it.each<[number, string, ConvertOptions]>([
    [200, 'layers', {}],
    [60, 'devices', { deviceTar: true, profile: 'erofs-image-spec' }],
  ])(
    '%i conversions into %s end right or with an error, and leave no wrong tag and no file',
    async (rounds, kind, asked) => {
      await putSample();
      proxy.done.clear();
      const { digest } = await convert(registry.host, `team/${kind}`, asked);
      const outcomes = new Map<string, number>();
      for (let round = 0; round < rounds; round++) {
        proxy.rate = [0.05, 0.2, 0.4][round % 3]!;
        const repository = `team/${kind}-${round}`;
        const outcome = await convert(proxy.host, repository, asked).then(
          (result) => {
            expect(result.digest, `round ${round}`).toBe(digest);
            return 'right';
          },
          (error: unknown) => {
            if (!(error instanceof SeekableErofsError)) throw error;
            expect([1, 3], `round ${round}: ${error.message}`).toContain(error.exitCode);
            return error.code;
          },
        );
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        const tag = await tagged(repository);
        expect(outcome === 'right' ? [digest] : [digest, null], `round ${round}, ${outcome}`).toContain(tag);
        expect(await readdir(temporary), `round ${round}`).toEqual([]);
      }
      console.log('outcomes', Object.fromEntries(outcomes), 'faults', Object.fromEntries(proxy.done));
      expect(await openTemporaries()).toEqual([]);
      expect([...proxy.done.keys()].sort()).toEqual([...faults].sort());
      expect(outcomes.get('right')).toBeGreaterThan(rounds / 10);
      expect(outcomes.size).toBeGreaterThan(1);
    },
    600_000,
  );

  it(`${rounds} blobs that are sent while they are made arrive whole, or end with an error`, async () => {
    proxy.choice = faults;
    proxy.done.clear();
    proxy.asked.length = 0;
    const outcomes = new Map<string, number>();
    for (let round = 0; round < rounds; round++) {
      proxy.rate = [0.05, 0.2, 0.4][round % 3]!;
      const bytes = noise(1 + random.below(6 * uploadChunkSize), `blob ${round}`);
      const outcome = await sendSlowly(bytes).catch((error: unknown) => {
        if (!(error instanceof SeekableErofsError)) throw error;
        expect([1, 3], `round ${round}: ${error.message}`).toContain(error.exitCode);
        return error.code;
      });
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      const answer = await fetch(`http://${registry.host}/v2/team/early/blobs/${digestOf(bytes)}`);
      const there = answer.status === 404 ? null : digestOf(Buffer.from(await answer.arrayBuffer()));
      expect(outcome === 'right' ? [digestOf(bytes)] : [digestOf(bytes), null], `round ${round}`).toContain(
        there,
      );
    }
    console.log('outcomes', Object.fromEntries(outcomes), 'sent early', early, 'requests');
    expect(await openTemporaries()).toEqual([]);
    expect(early).toBeGreaterThan(rounds / 4);
    expect(outcomes.get('right')).toBeGreaterThan(rounds / 2);
  }, 600_000);

  it('a device that was made of a layer with another DiffID, or without data, is given up', async () => {
    const layout = join(folder, 'wrong');
    const [said, there] = await Promise.all(
      ['said', 'there'].map((name) => makeTar([{ name, content: noise(100_000, name) }])),
    );
    await writeLayout(layout, [said!], { stored: [gzipSync(there!)] });
    const asked = { ...options(), deviceTar: true, profile: 'erofs-image-spec' } as const;
    const to = `docker://${registry.host}/team/wrong:erofs`;
    await expect(convertImage(`oci:${layout}:sample`, to, asked)).rejects.toThrow(refusal('MISMATCH'));
    expect(await openTemporaries()).toEqual([]);
    expect(await tagged('team/wrong')).toBeNull();
    await writeLayout(layout, [await makeTar([{ name: 'empty' }])], { ref: 'dataless' });
    await convertImage(`oci:${layout}:dataless`, to, asked);
    expect(await openTemporaries()).toEqual([]);
  });

  it('after a cut less than a chunk is fetched twice', async () => {
    const bytes = noise(6 * chunkSize, 'large');
    const layer = {
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest: digestOf(bytes),
      size: bytes.length,
    };
    const place = { transport: 'docker', repository: 'team/large' } as const;
    const store = await RegistryDestination.open({ ...place, host: registry.host }, options());
    await store.writeBlob(layer, bytes);
    await store.close();
    proxy.rate = 0.8;
    proxy.choice = ['cut answer'];
    const source = await RegistrySource.open(
      { ...place, host: proxy.host },
      { ...options(), retry: { attempts: 50, firstPause: 1, maxPause: 1 } },
    );
    proxy.deliveries.length = 0;
    let cuts = 0;
    for (let i = 0; i < 6; i++) {
      const file = await source.openFile(layer);
      await file.close();
      const deliveries = proxy.deliveries.splice(0);
      let reached = 0;
      for (const { first, bytes: length, isCut } of deliveries) {
        expect(reached - first).toBeLessThan(chunkSize);
        reached = first + length;
        if (isCut) cuts++;
      }
      const total = deliveries.reduce((sum, { bytes: length }) => sum + length, 0);
      expect(total - bytes.length).toBeLessThan(deliveries.length * chunkSize);
    }
    await source.close();
    expect(cuts).toBeGreaterThan(0);
  }, 300_000);
});
