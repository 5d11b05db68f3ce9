import { createHash, randomBytes } from 'node:crypto';
import { writeSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, vi } from 'vitest';
import type { RegistryReference } from '../../../src/oci/reference';
import type { DestinationStore } from '../../../src/oci/store';
import type { Descriptor } from '../../../src/oci/types';
import {
  RegistryDestination,
  type RegistryDestinationOptions,
} from '../../../src/store/registry/destination';
import type { StoreOptions } from '../../../src/store/registry/options';
import { FakeRegistry } from '../../support/fake-registry';

export const types = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
};

export const digestOf = (bytes: Uint8Array): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

export const describeBytes = (bytes: Buffer, mediaType = types.layer): Descriptor => ({
  mediaType,
  digest: digestOf(bytes),
  size: bytes.length,
});

/** A manifest without layers, as a document with its descriptor. */
export function sampleManifest(): { bytes: Buffer; descriptor: Descriptor } {
  const config = describeBytes(Buffer.from('{}'), types.config);
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: types.manifest, config, layers: [] }),
  );
  return { bytes, descriptor: describeBytes(bytes, types.manifest) };
}

export const noise = (size: number): Buffer => randomBytes(size);

export let registry: FakeRegistry;
/** Where credentials are looked for, and temporary files go: empty at first. */
export let home: string;

/** Options of stores that try again at once. */
export const quick = (): StoreOptions => ({ tmpDir: home, retry: { firstPause: 1 } });

export const reference = (changes: Partial<RegistryReference> = {}): RegistryReference => ({
  transport: 'docker',
  host: registry.host,
  repository: 'team/app',
  tag: 'one',
  ...changes,
});

/** Gives each test of the calling file a registry, and an environment without credentials and proxies. */
export function useRegistry(): void {
  beforeEach(async () => {
    registry = await FakeRegistry.start();
    home = await mkdtemp(join(tmpdir(), 'registry-'));
    vi.stubEnv('HOME', home);
    vi.stubEnv('XDG_RUNTIME_DIR', home);
    const names = [
      'REGISTRY_AUTH_FILE',
      'DOCKER_CONFIG',
      'XDG_CONFIG_HOME',
      'SSL_CERT_FILE',
      'NODE_EXTRA_CA_CERTS',
    ];
    const proxies = ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy', 'NO_PROXY', 'no_proxy'];
    for (const name of [...names, ...proxies]) vi.stubEnv(name, undefined);
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await registry.stop();
    // Temporary files have no names: nothing is left whatever the test did.
    expect((await readdir(home)).filter((name) => name.startsWith('.seekable'))).toEqual([]);
    await rm(home, { recursive: true });
  });
}

/** Writes a blob by way of a draft. */
export async function commitBlob(
  store: DestinationStore,
  bytes: Buffer,
  descriptor = describeBytes(bytes),
): Promise<void> {
  const draft = await store.createBlob();
  writeSync(draft.fd, bytes);
  await draft.commit(descriptor);
}

/** Bytes of a request of the uploads in these tests. */
export const uploadChunk = 100_000;

/** Runs with a destination, and closes it; aborts it when that fails, as a conversion does. */
export async function withDestination<T>(
  use: (store: RegistryDestination) => Promise<T>,
  options: RegistryDestinationOptions = {},
  to = reference(),
): Promise<T> {
  const store = await RegistryDestination.open(to, { ...quick(), uploadChunkSize: uploadChunk, ...options });
  registry.takeCalls();
  try {
    const result = await use(store);
    await store.close();
    return result;
  } catch (error) {
    await store.abort();
    throw error;
  }
}
