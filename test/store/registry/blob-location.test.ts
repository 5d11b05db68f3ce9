import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RegistrySource } from '../../../src/store/registry/source';
import { refuse } from '../../support/fake-registry';
import { RangeServer } from '../../support/range-server';
import { describeBytes, digestOf, noise, quick, reference, registry, useRegistry } from './sample';

useRegistry();

/** Runs with a source, and closes it. */
async function withSource(use: (source: RegistrySource) => Promise<void>): Promise<void> {
  const source = await RegistrySource.open(reference(), quick());
  registry.takeCalls();
  try {
    await use(source);
  } finally {
    await source.close();
  }
}

describe('a registry that leads to an object storage', () => {
  const blob = noise(10_000);
  let storage: RangeServer;
  /** What the storage takes now. */
  let signature: string;

  beforeEach(async () => {
    signature = '1';
    storage = await RangeServer.start(blob);
    storage.misbehave = ({ url }, response) => {
      if (url.endsWith(`?signature=${signature}`)) return false;
      response.writeHead(403).end('expired');
      return true;
    };
    registry.putBlob('team/app', blob);
    registry.misbehave = ({ path }, response) => {
      if (!path.includes('/blobs/')) return false;
      response.writeHead(307, { location: `${storage.url}?signature=${signature}` }).end();
      return true;
    };
  });
  afterEach(() => storage.stop());

  it('is asked once, and again when the address is not taken any more', async () => {
    await withSource(async (source) => {
      const opened = await source.openBlob(describeBytes(blob));
      const path = `GET team/app/blobs/${digestOf(blob)}`;
      for (const offset of [0, 5000, 9000])
        expect((await opened.read(offset, 100)).equals(blob.subarray(offset, offset + 100))).toBe(true);
      expect(registry.takeCalls()).toEqual([path]);
      signature = '2';
      expect((await opened.read(7000, 100)).equals(blob.subarray(7000, 7100))).toBe(true);
      expect((await opened.read(1000, 100)).equals(blob.subarray(1000, 1100))).toBe(true);
      expect(registry.takeCalls()).toEqual([path]);
      for (const { headers } of storage.requests) expect(headers.authorization).toBeUndefined();
    });
  });

  it('is asked again when the storage is not reached', async () => {
    await withSource(async (source) => {
      const opened = await source.openBlob(describeBytes(blob));
      await opened.read(0, 100);
      await storage.stop();
      registry.misbehave = () => false;
      expect((await opened.read(7000, 100)).equals(blob.subarray(7000, 7100))).toBe(true);
    });
  });

  it('that refuses itself is told of', async () => {
    await withSource(async (source) => {
      const opened = await source.openBlob(describeBytes(blob));
      await opened.read(0, 100);
      registry.misbehave = (_call, response) => {
        refuse(response, 403, 'DENIED');
        return true;
      };
      signature = '2';
      await expect(opened.read(7000, 100)).rejects.toThrow('403');
    });
  });
});
