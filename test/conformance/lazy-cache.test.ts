import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { MountResult } from '../../src/index';
import { documentOf, runCli } from '../e2e/run-cli';
import { at } from '../e2e/workspace';
import { titleOf } from './support/machine';
import {
  harm,
  mountLazily,
  noiseLayer,
  processesOf,
  proxy,
  pushImage,
  umount,
  useLazyMounts,
  whyNoLazyMounts,
} from './support/lazily';
import { state, writeImage } from './support/mounting';

// The claim: what a lazy mount has fetched of a layer serves all later mounts, once it was checked as a whole, and what is wrong does not.

const reason = whyNoLazyMounts();
useLazyMounts(reason !== null);

const readAll = () =>
  execFileSync('sh', ['-c', 'find "$1" -type f -exec cat {} + | sha256sum', '-', at('target')]).toString();
const mounts = () => documentOf<MountResult[]>(['mounts', '--state', state]);
const decoded = (): string[] =>
  readdirSync(join(state, 'content')).filter((key) => existsSync(join(state, 'content', key, 'image')));
const soon = { timeout: 20_000, interval: 50 };

describe.skipIf(reason !== null)(titleOf('a complete layer', reason), () => {
  test('is a decoded one for eager and for lazy mounts: nothing of it is fetched again, and no server is needed', async () => {
    const reference = await pushImage(noiseLayer('a', 3), noiseLayer('b', 3));
    await mountLazily(reference);
    const digest = readAll();
    await vi.waitFor(() => {
      expect(decoded()).toHaveLength(2);
    }, soon);
    const [key] = decoded();
    const [store, image] = ['lazy', '.'].map((part) =>
      readdirSync(join(state, 'content', part, key!)).sort(),
    );
    expect([store, image!.length]).toEqual([['chunks-1', 'data', 'digests', 'tables'], 3]); // the image, and two vouchers
    expect(statSync(join(state, 'content', key!, 'image')).ino).toBe(
      statSync(join(state, 'content/lazy', key!, 'data')).ino,
    );
    expect(readAll()).toBe(digest); // it goes on being served
    await umount();
    proxy.deliveries.length = 0;
    for (const flags of [['--lazy'], [], ['--verity', 'off']]) {
      await documentOf(['mount', reference, at('target'), ...flags, '--state', state]);
      expect(processesOf('keeper-main')).toEqual([]);
      expect(readAll()).toBe(digest);
      await umount();
    }
    const blobs = proxy.deliveries.filter(({ bytes }) => bytes > 10_000);
    expect(blobs).toEqual([]);
  });

  test('that an eager mount decoded serves a lazy one', async () => {
    const reference = await pushImage(noiseLayer('a', 3));
    await documentOf(['mount', reference, at('target'), '--verity', 'off', '--state', state]);
    const digest = readAll();
    await umount();
    proxy.deliveries.length = 0;
    await mountLazily(reference);
    expect([readAll(), processesOf('server-main')]).toEqual([digest, []]);
    expect(proxy.deliveries.filter(({ bytes }) => bytes > 10_000)).toEqual([]);
    await umount();
  });

  test('that is not what the image says is no decoded one, and its store is emptied', async () => {
    await writeImage('local', [noiseLayer('a', 3)]);
    promise('local', `sha256:${'1'.repeat(64)}`);
    await mountLazily(`oci:${at('local')}:image`);
    const digest = readAll();
    await vi.waitFor(() => {
      expect(readFileSync(join(state, 'lazy/log'), 'utf8')).toMatch(/DiffID.*its store is emptied/);
    }, soon);
    expect(decoded()).toEqual([]);
    expect((await mounts())[0]!.layers[0]!.lazy!.present).toBe(0);
    execFileSync('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);
    expect(readAll()).toBe(digest); // frame by frame it is what its table says
    await umount();
  });

  /** Writes another DiffID into the config of a layout's only image. */
  function promise(name: string, diffId: string): void {
    interface Document {
      manifests: { digest: string }[];
      config: { digest: string };
      rootfs: { diff_ids: string[] };
    }
    const path = (digest: string): string => at(`${name}/blobs/${digest.replace(':', '/')}`);
    const read = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as Document;
    const put = (value: unknown) => {
      const bytes = JSON.stringify(value);
      const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
      writeFileSync(path(digest), bytes);
      return { digest, size: Buffer.byteLength(bytes) };
    };
    const index = read(at(`${name}/index.json`));
    const manifest = read(path(index.manifests[0]!.digest));
    const config = read(path(manifest.config.digest));
    config.rootfs.diff_ids[0] = diffId;
    Object.assign(manifest.config, put(config));
    Object.assign(index.manifests[0]!, put(manifest));
    writeFileSync(at(`${name}/index.json`), JSON.stringify(index));
  }
});

describe.skipIf(reason !== null)(titleOf('a registry that is away, or refuses', reason), () => {
  let pinned: string;
  let digest: string;
  /** Mounted, read and unmounted once, by a digest that an index leads to the image from. */
  beforeEach(async () => {
    const reference = await pushImage(noiseLayer('a', 40));
    const { digest: found } = await documentOf<{ digest: string }>([
      ...['convert', `oci:${at('local.tars')}:image`, `${reference}-index`, '--append-to-index'],
      ...['--chunk-size', '64KiB'],
    ]);
    pinned = `${reference.replace(/:[^:/]*$/, '')}@${found}`;
    await mountLazily(pinned);
    digest = readSome();
    await umount();
  });
  const readSome = (): string => execFileSync('sha256sum', [at('target/a/0'), at('target/a/1')]).toString();
  const mount = (reference: string) =>
    runCli(['mount', reference, at('target'), '--lazy', '--verity', 'off', '--state', state]);

  test('what is here is mounted and read without it, with a warning; a tag is not', async () => {
    harm('no connection');
    const { exitCode, stderr } = await mount(pinned);
    expect(stderr).toMatch(/^warning: .*the registry was not asked whether it still gives the layers/m);
    expect([exitCode, readSome()]).toEqual([0, digest]);
    await umount();
    const tagged = await mount(`${pinned.split('@')[0]!}:tag`);
    expect(tagged.exitCode).toBe(1);
    expect(tagged.stderr).toMatch(/named by its digest/);
    const documents = join(state, 'content/documents');
    expect(readdirSync(documents)).toHaveLength(3); // index, manifest, config
    for (const name of readdirSync(documents)) writeFileSync(join(documents, name), '{}');
    expect((await mount(pinned)).exitCode).toBe(1); // none of them is what its digest says
    harm();
    expect((await mount(pinned)).exitCode).toBe(0);
    await umount();
  });

  test.each(['status 401', 'status 403', 'status 404'] as const)(
    '%s of a layer that is here fails the mount',
    async (fault) => {
      harm(fault);
      const { exitCode, stderr } = await mount(pinned);
      expect([exitCode, stderr]).toEqual([
        1,
        expect.stringMatching(new RegExp(`error: .*${fault.slice(7)}`)),
      ]);
      expect(await mounts()).toEqual([]);
      harm();
      expect((await mount(pinned)).exitCode).toBe(0);
      // Served already, for another mount: who mounts it now is asked for as well.
      harm(fault);
      const second = ['mount', pinned, at('second'), '--lazy', '--verity', 'off', '--state', state];
      expect((await runCli(second)).exitCode).toBe(1);
      await umount();
    },
  );
});

describe.skipIf(reason !== null)(titleOf('the size of the cache', reason), () => {
  test('bounds what nothing has mounted', async () => {
    const reference = await pushImage(noiseLayer('a', 3));
    await mountLazily(reference, '--cache-size', '0');
    readAll();
    expect((await mounts())[0]!.layers[0]!.lazy!.present).toBeGreaterThan(0);
    await umount();
    expect(readdirSync(join(state, 'content/lazy'))).toEqual([]);
  });
});
