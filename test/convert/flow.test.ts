import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { convertImage } from '../../src/index';
import type { Descriptor } from '../../src/oci/types';
import { RegistryDestination } from '../../src/store/registry/destination';
import { makeTar } from '../e2e/sample';
import { refuse } from '../support/fake-registry';
import { refusal } from '../support/refusal';
import {
  describeBytes,
  digestOf,
  noise,
  quick,
  registry,
  types,
  useRegistry,
} from '../store/registry/sample';

// From registry to registry: a layer is worked on while it is fetched, and its blob is sent before the layer is known to be the right one.

useRegistry();

const uploadChunk = 50_000; // bytes of a request: the blob below takes several

beforeEach(() => {
  const open = RegistryDestination.open.bind(RegistryDestination);
  vi.spyOn(RegistryDestination, 'open').mockImplementation((reference, options) =>
    open(reference, { ...options, uploadChunkSize: uploadChunk }),
  );
  return () => vi.restoreAllMocks();
});

interface Layer {
  tar: Buffer;
  descriptor: Descriptor;
  bytes: Buffer;
}

/** With more zeros behind it than a tar must have, which nobody reads. */
const sample = async (): Promise<Buffer> =>
  Buffer.concat([await makeTar([{ name: 'file', content: noise(200_000) }]), Buffer.alloc(10_240)]);
const plain = (tar: Buffer): Layer => ({ tar, bytes: tar, descriptor: describeBytes(tar) });
const packed = (tar: Buffer, end: Buffer = Buffer.alloc(0)): Layer => {
  const bytes = Buffer.concat([gzipSync(tar), end]);
  return { tar, bytes, descriptor: describeBytes(bytes, `${types.layer}+gzip`) };
};

/** Puts an image of that layer into the registry, as `team/app:one`. */
function put({ tar, descriptor, bytes }: Layer): void {
  const config = Buffer.from(
    JSON.stringify({
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
    }),
  );
  registry.putBlob('team/app', config);
  registry.blobs.set(`team/app ${descriptor.digest}`, bytes);
  registry.putManifest('team/app', 'one', types.manifest, {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: describeBytes(config, types.config),
    layers: [descriptor],
  });
}

const convert = () =>
  convertImage(`docker://${registry.host}/team/app:one`, `docker://${registry.host}/team/new:one`, {
    ...quick(),
    platforms: ['linux/amd64'],
  });

/** What is at the destination. */
const published = () =>
  [...registry.blobs.keys(), ...registry.manifests.keys()].filter((key) => key.startsWith('team/new '));
const sentTo = (method: string) =>
  registry.calls.filter((call) => call.method === method && call.path.startsWith('team/new/blobs/uploads/'));

describe('a layer whose last byte is not that of its digest', () => {
  const wrong = (bytes: Buffer): Buffer => {
    const other = Buffer.from(bytes);
    other[other.length - 1]! ^= 1;
    return other;
  };

  it.each([
    ['plain', plain, true],
    // Zeros may follow a gzip stream: nothing but the digest tells. It is compared before anything is encoded.
    ['gzip', (tar: Buffer) => packed(tar, Buffer.alloc(1, 1)), false],
    // It is in the stream's own trailer.
    ['gzip, noticed by its checksum', (tar: Buffer) => packed(tar), false],
  ])('is refused, and nothing is published (%s)', async (_name, pack, isSent) => {
    const layer = pack(await sample());
    put({ ...layer, bytes: wrong(layer.bytes) });
    await expect(convert()).rejects.toThrow(refusal('MISMATCH', layer.descriptor.digest));
    expect(published()).toEqual([]);
    expect(registry.uploads.size).toBe(0);
    expect(sentTo('POST').length > 0).toBe(isSent);
    expect(sentTo('PUT')).toEqual([]);
  });
});

describe('a layer that arrives in pieces', () => {
  it.each([
    ['plain', plain],
    ['gzip', packed],
  ])('becomes the same image (%s)', async (_name, pack) => {
    const layer = pack(await sample());
    put(layer);
    const { digest } = await convert();
    registry.blobs.forEach((_bytes, key) => key.startsWith('team/new ') && registry.blobs.delete(key));
    registry.manifests.clear();
    put(layer);
    const gets: string[] = [];
    registry.misbehave = (call, response) => {
      if (call.method !== 'GET' || !call.path.endsWith(layer.descriptor.digest)) return false;
      gets.push(call.headers.range ?? '');
      const first = Number(/\d+/.exec(call.headers.range ?? '0')![0]);
      if (gets.length > 3) return false;
      if (gets.length === 2) {
        refuse(response, 503, 'UNAVAILABLE');
        return true;
      }
      const { size } = layer.descriptor;
      response.writeHead(206, {
        'content-range': `bytes ${first}-${size - 1}/${size}`,
        'content-length': size - first,
      });
      response.write(layer.bytes.subarray(first, first + 70_000), () => response.destroy());
      return true;
    };
    expect((await convert()).digest).toBe(digest);
    // It goes on with what has not come yet.
    const starts = gets.map((range) => Number(/\d+/.exec(range)?.[0] ?? 0));
    expect(starts).toHaveLength(4);
    expect(starts[1]).toBeGreaterThan(0);
    expect(starts[2]).toBe(starts[1]);
    expect(starts[3]).toBeGreaterThan(starts[2]!);
    expect(registry.uploads.size).toBe(0);
    const [blob] = published().filter((key) => (registry.blobs.get(key)?.length ?? 0) > 100_000);
    expect(digestOf(registry.blobs.get(blob!)!)).toBe(blob!.slice('team/new '.length));
  });
});
