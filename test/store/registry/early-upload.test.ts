import { writeSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { describe, expect, it, vi } from 'vitest';
import type { BlobDraft } from '../../../src/oci/store';
import type { RegistryDestination } from '../../../src/store/registry/destination';
import { refuse, type RegistryCall } from '../../support/fake-registry';
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

/** What may become of a part of an upload: true when the registry does not answer by itself. */
const harms: Record<string, (call: RegistryCall, response: ServerResponse) => boolean> = {
  'a connection that ends before it is stored': (_call, response) => {
    response.destroy();
    return true;
  },
  'a connection that ends once it is stored': ({ path, body }, response) => {
    store(path, body);
    response.destroy();
    return true;
  },
  'a registry that closes in its middle': ({ path, body }, response) => {
    store(path, body.subarray(0, 1000));
    response.destroy();
    return true;
  },
  'a registry that takes a part of it': ({ path, body }, response) => {
    const size = store(path, body.subarray(0, 1000));
    response.writeHead(202, { location: `/v2/${path}`, range: `0-${size - 1}` }).end();
    return true;
  },
  'a 503 when a part is stored': ({ path, body }, response) => {
    store(path, body.subarray(0, 1000));
    refuse(response, 503, 'UNAVAILABLE');
    return true;
  },
  'a 500': (_call, response) => {
    refuse(response, 500, 'UNKNOWN');
    return true;
  },
  'another location, and none at the old one': ({ path, body }, response) => {
    const size = store(path, body);
    const other = `${path}-moved`;
    registry.uploads.set(idOf(other), registry.uploads.get(idOf(path))!);
    registry.uploads.delete(idOf(path));
    response.writeHead(202, { location: `/v2/${other}`, range: `0-${size - 1}` }).end();
    return true;
  },
  'a registry that has lost what came before': ({ path }, response) => {
    registry.uploads.delete(idOf(path));
    refuse(response, 404, 'BLOB_UPLOAD_UNKNOWN');
    return true;
  },
  'a byte that is not ours': ({ body }) => {
    body[body.length - 1]! ^= 1;
    return false;
  },
};

const idOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** Adds to an upload; returns how much it has. */
function store(path: string, more: Buffer): number {
  const all = Buffer.concat([registry.uploads.get(idOf(path))!, more]);
  registry.uploads.set(idOf(path), all);
  return all.length;
}

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

  describe.each(Object.entries(harms))('of which a part meets %s', (_name, harm) => {
    it.each([0, 1, 2])('is whole in the end (part %i)', async (which) => {
      let met = 0;
      registry.misbehave = (call, response) =>
        call.method === 'PATCH' && met++ === which && harm(call, response);
      await withDestination(async (store) => {
        const draft = await store.createBlob();
        for (let size = 0; size < bytes.length; size += chunk / 2) {
          writeSync(draft.fd, bytes.subarray(size, size + chunk / 2));
          draft.onWritten!(Math.min(size + chunk / 2, bytes.length));
          await vi.waitFor(() => {
            // Each part that is there is on its way before more is written.
            expect(met).toBeGreaterThanOrEqual(Math.min(Math.floor(size / chunk + 0.5), which + 1));
          });
        }
        await draft.commit(describeBytes(bytes));
      });
      expect(met).toBeGreaterThan(which);
      expect(stored(bytes)?.equals(bytes)).toBe(true);
      expect(registry.uploads.size).toBe(0);
    });
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
