import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { documentOf } from '../e2e/run-cli';
import { DockerRegistry } from '../support/docker-registry';
import { FaultyProxy, faults, type Fault } from '../support/faulty-proxy';
import { again } from '../support/rounds';
import { TokenServer } from '../support/token-server';
import {
  compareByFour,
  digests,
  dropCaches,
  files,
  harm,
  lazyOf,
  local,
  mount,
  proxy,
  read,
  readAll,
  registry,
  startRegistryAgain,
  umount,
  useLazyImage,
  whyNoLazyMounts,
} from '../conformance/support/lazy-image';
import { titleOf } from '../conformance/support/machine';
import { state, useMounts } from '../conformance/support/mounting';
import { count, noteReading } from './support/figures';
import { mountEager, Readers, umountEager } from './support/readers';

// The claim: whatever a registry refuses, breaks off, changes or does not answer, a reader of a lazy mount gets right bytes, or an error in time.

useMounts();

const reason = whyNoLazyMounts();
const ioError = 'Input/output error';
const lasting = ['status 401', 'status 404', 'status 416', 'silent'] as const satisfies Fault[];

describe.skipIf(reason !== null)(titleOf('lazy mounts, and faults', reason), () => {
  useLazyImage();

  describe('of the registry', () => {
    test.each(lasting)(
      'for good, an error after --io-timeout, and right bytes later: %s',
      again(5),
      async (fault) => {
        await mount('--io-timeout', '2');
        harm(fault);
        await expect(read(files[20]!)).rejects.toThrow(ioError);
        harm();
        expect(await read(files[20]!)).toBe(digests[20]);
        await umount();
      },
    );

    test(
      'tokens that end are renewed while files are read; one that is not renewed is an error in time',
      again(5),
      async () => {
        const tokens = await TokenServer.start('test');
        try {
          const challenge = `Bearer realm="${tokens.realm}",service="test",scope="repository:image:pull"`;
          tokens.lifetime = 1;
          proxy.deny = ({ headers: { authorization = '' } }) =>
            authorization !== '' && tokens.allows(authorization.slice(7), 'image', 'pull') ? null : challenge;
          // The last file in the image: opening it reads ahead, and not that far.
          await mount('--io-timeout', '2');
          await sleep(1100);
          const before = tokens.requests.length;
          expect(await read(files[9]!)).toBe(digests[9]);
          expect(tokens.requests.length).toBeGreaterThan(before);
          await umount();
          rmSync(join(state, 'content/lazy'), { recursive: true });
          dropCaches();
          await mount('--io-timeout', '2');
          await sleep(1100);
          tokens.misbehave = (_request, response) => {
            response.writeHead(401).end('{}');
            return true;
          };
          await expect(read(files[9]!)).rejects.toThrow(ioError);
          tokens.misbehave = () => false;
          expect(await read(files[9]!)).toBe(digests[9]);
          await umount();
        } finally {
          await tokens.stop();
        }
      },
    );

    test('a tag that changes from answer to answer: the bytes decide', again(5), async () => {
      await mount();
      harm('changed tag');
      expect(await readAll()).toEqual(digests);
      await umount();
    });

    test(
      'any of them at random, coming and going, while four readers compare',
      again(20),
      async (context) => {
        const eager = await mountEager();
        await mount('--io-timeout', '2');
        const readers = await Readers.start(eager, { ioTimeout: 2, allowed: ['EIO'] });
        for (let i = 0; i < 10; i++) {
          harm(...[...faults, ...lasting, 'status 403' as const].filter(() => Math.random() < 0.2));
          proxy.rate = Math.random();
          await sleep(Math.random() * 500);
          harm();
          await sleep(Math.random() * 100);
          await readers.check();
        }
        noteReading(context, await readers.finish());
        await compareByFour();
        await umount();
        await umountEager();
      },
    );

    test('it is killed and started again while four readers compare', again(20), async (context) => {
      const eager = await mountEager();
      await mount('--io-timeout', '2');
      const readers = await Readers.start(eager, { ioTimeout: 2, allowed: ['EIO'] });
      for (let i = 0; i < 3; i++) {
        await sleep(Math.random() * 100);
        await registry.stop();
        await sleep(Math.random() * 500);
        await startRegistryAgain();
        count(context, 'kills');
        await readers.check();
      }
      noteReading(context, await readers.finish());
      await compareByFour();
      await umount();
      await umountEager();
    });
  });

  describe('of one registry, with a mirror', () => {
    let mirror: { registry: DockerRegistry; proxy: FaultyProxy; home: string };
    const startMirror = async (): Promise<void> => {
      const home = await mkdtemp('/tmp/lazy-mirror-');
      const registry = await DockerRegistry.start(home);
      mirror = { registry, proxy: await FaultyProxy.start(registry.host, Math.random), home };
      await documentOf(['convert', local, `docker://${mirror.proxy.host}/image:latest`]);
    };
    afterEach(async () => {
      await mirror.proxy.stop();
      await mirror.registry.stop();
      await rm(mirror.home, { recursive: true });
    });

    test.each<Fault>(['wrong bytes', 'no connection', 'status 401'])(
      'nobody notices but the log: %s',
      again(5),
      async (fault) => {
        await startMirror();
        await mount('--mirror', mirror.proxy.host, '--io-timeout', '20');
        harm(fault);
        expect(await readAll()).toEqual(digests);
        expect((await lazyOf()).source).toContain(mirror.proxy.host);
        // The mirror dies, the registry is back.
        harm();
        dropCaches();
        await mirror.registry.stop();
        expect(await readAll()).toEqual(digests);
        await umount();
      },
    );

    test('wrong bytes of both are an error', again(5), async () => {
      await startMirror();
      await mount('--mirror', mirror.proxy.host);
      harm('wrong bytes');
      mirror.proxy.choice = ['wrong bytes'];
      mirror.proxy.rate = 1;
      const results = await Promise.allSettled(files.map((name) => read(name)));
      expect(results.some(({ status }) => status === 'rejected')).toBe(true);
      for (const [i, result] of results.entries()) {
        if (result.status === 'fulfilled') expect(result.value).toBe(digests[i]);
        else expect(String(result.reason)).toContain(ioError);
      }
      await umount();
    });
  });
});
