import { writeSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import type { BlobDraft } from '../../../src/oci/store';
import type { RegistryDestination } from '../../../src/store/registry/destination';
import { refuse } from '../../support/fake-registry';
import {
  commitBlob,
  describeBytes,
  digestOf,
  noise,
  registry,
  uploadChunk as chunk,
  useRegistry,
  withDestination,
} from './sample';

useRegistry();

const stored = (bytes: Buffer) => registry.blobs.get(`team/app ${digestOf(bytes)}`);
const methods = () => registry.calls.map(({ method }) => method);

describe('a blob that is still being made', () => {
  const bytes = noise(3 * chunk + 5);

  /** Writes it in two parts; the first goes on its way before the second is there. */
  async function makeSlowly(store: RegistryDestination, firstPart: number): Promise<BlobDraft> {
    const draft = await store.createBlob();
    writeSync(draft.fd, bytes.subarray(0, firstPart));
    draft.onWritten!(firstPart);
    return draft;
  }

  const sent = (count: number) =>
    vi.waitFor(() => {
      expect(methods().filter((method) => method === 'PATCH')).toHaveLength(count);
      expect([...registry.uploads.values()].map(({ length }) => length)).toEqual([count * chunk]);
    });

  it('is sent in whole chunks, and the rest once its digest is known', async () => {
    await withDestination(async (store) => {
      const draft = await makeSlowly(store, 2 * chunk + 10);
      await sent(2);
      expect(methods()).toEqual(['POST', 'PATCH', 'PATCH']);
      writeSync(draft.fd, bytes.subarray(2 * chunk + 10));
      await draft.commit(describeBytes(bytes));
    });
    expect(stored(bytes)?.equals(bytes)).toBe(true);
    expect(methods()).toEqual(['POST', 'PATCH', 'PATCH', 'HEAD', 'PATCH', 'PATCH', 'PUT']);
    expect(registry.uploads.size).toBe(0);
  });

  it('is not begun before it has a chunk', async () => {
    await withDestination(async (store) => {
      const draft = await makeSlowly(store, chunk - 1);
      writeSync(draft.fd, bytes.subarray(chunk - 1));
      await draft.commit(describeBytes(bytes));
    });
    expect(methods()).toEqual(['HEAD', 'POST', 'PATCH', 'PATCH', 'PATCH', 'PATCH', 'PUT']);
  });

  it('is begun when it has one, whatever was told before', async () => {
    await withDestination(async (store) => {
      const draft = await makeSlowly(store, chunk - 1);
      writeSync(draft.fd, bytes.subarray(chunk - 1, 2 * chunk));
      draft.onWritten!(2 * chunk);
      await sent(2);
      await draft.discard();
    });
    expect(methods()).toEqual(['POST', 'PATCH', 'PATCH', 'DELETE']);
  });

  it('is given up when the registry has it by then, or nobody wants it', async () => {
    await withDestination((store) => commitBlob(store, bytes));
    await withDestination(async (store) => {
      const draft = await makeSlowly(store, chunk);
      await sent(1);
      writeSync(draft.fd, bytes.subarray(chunk));
      await draft.commit(describeBytes(bytes));
    });
    expect(methods()).toEqual(['POST', 'PATCH', 'HEAD', 'DELETE']);
    await withDestination(async (store) => {
      const draft = await makeSlowly(store, chunk);
      await sent(1);
      await draft.discard();
    });
    expect(methods()).toEqual(['POST', 'PATCH', 'DELETE']);
    expect(registry.uploads.size).toBe(0);
  });

  it('goes in one request where chunks are not taken, and after a refusal that has passed', async () => {
    for (const status of [405, 403]) {
      let hasRefused = false;
      registry.misbehave = ({ method }, response) => {
        if (method !== 'PATCH' || (status === 403 && hasRefused)) return false;
        hasRefused = true;
        refuse(response, status, 'UNSUPPORTED');
        return true;
      };
      registry.blobs.clear();
      await withDestination(async (store) => {
        const draft = await makeSlowly(store, 2 * chunk);
        await vi.waitFor(() => {
          expect(hasRefused).toBe(true);
        });
        writeSync(draft.fd, bytes.subarray(2 * chunk));
        await draft.commit(describeBytes(bytes));
      });
      expect(stored(bytes)?.equals(bytes)).toBe(true);
      expect(registry.uploads.size).toBe(0);
    }
  });

  it('is not waited for when all is given up', async () => {
    let isAsked = false;
    registry.misbehave = ({ method }) => (isAsked ||= method === 'PATCH') && method === 'PATCH';
    await withDestination(async (store) => {
      const draft = await makeSlowly(store, chunk);
      await vi.waitFor(() => {
        expect(isAsked).toBe(true);
      });
      await draft.discard();
    });
    expect(methods()).toEqual(['POST', 'PATCH', 'DELETE']);
  });
});
