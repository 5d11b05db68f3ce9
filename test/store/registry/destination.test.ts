import { describe, expect, it } from 'vitest';
import { RegistryDestination } from '../../../src/store/registry/destination';
import { caught } from '../../support/caught';
import { refuse } from '../../support/fake-registry';
import { refusal } from '../../support/refusal';
import {
  commitBlob,
  describeBytes,
  digestOf,
  noise,
  quick,
  reference,
  registry,
  sampleManifest,
  types,
  uploadChunk as chunk,
  useRegistry,
  withDestination,
} from './sample';

useRegistry();

const stored = (bytes: Buffer, repository = 'team/app') =>
  registry.blobs.get(`${repository} ${digestOf(bytes)}`);
const methods = () => registry.calls.map(({ method }) => method);
const isUpload = (path: string) => /\/blobs\/uploads\/./.test(path);

describe('a blob', () => {
  it('that is small goes in one request, after a look whether it is there', async () => {
    const bytes = noise(1000);
    const events: unknown[] = [];
    await withDestination((store) => commitBlob(store, bytes), { onProgress: (event) => events.push(event) });
    expect(stored(bytes)?.equals(bytes)).toBe(true);
    expect(methods()).toEqual(['HEAD', 'POST', 'PUT']);
    const { digest } = describeBytes(bytes);
    expect(events).toEqual([{ phase: 'push', item: digest, done: 1000, total: 1000, unit: 'bytes' }]);
  });

  it('that is large goes in chunks, one behind the other', async () => {
    const bytes = noise(3 * chunk + 1);
    await withDestination((store) => commitBlob(store, bytes));
    expect(stored(bytes)?.equals(bytes)).toBe(true);
    expect(methods()).toEqual(['HEAD', 'POST', 'PATCH', 'PATCH', 'PATCH', 'PATCH', 'PUT']);
    const ranges = registry.calls
      .map(({ headers }) => headers['content-range'])
      .filter((range) => range !== undefined);
    expect(ranges).toEqual(['0-99999', '100000-199999', '200000-299999', '300000-300000']);
  });

  it('that is empty can be written, and one of exactly a chunk', async () => {
    for (const bytes of [Buffer.alloc(0), noise(chunk)]) {
      await withDestination((store) => commitBlob(store, bytes));
      expect(stored(bytes)?.equals(bytes)).toBe(true);
      expect(methods()).toEqual(['HEAD', 'POST', 'PUT']);
    }
  });

  it('that is there is not sent, and asked for once', async () => {
    const bytes = noise(1000);
    registry.putBlob('team/app', bytes);
    await withDestination(async (store) => {
      await commitBlob(store, bytes);
      expect(await store.has(describeBytes(bytes))).toBe(true);
      await store.writeBlob(describeBytes(bytes), bytes);
    });
    expect(methods()).toEqual(['HEAD']);
  });

  it('of another repository of the registry is mounted', async () => {
    const [shared, foreign] = [noise(1000), noise(1000)];
    registry.putBlob('team/base', shared);
    const source = `docker://${registry.host}/team/base:one`;
    await withDestination(
      async (store) => {
        expect(await store.has(describeBytes(shared))).toBe(true);
        expect(stored(shared)?.equals(shared)).toBe(true);
        expect(await store.has(describeBytes(foreign))).toBe(false);
      },
      { source },
    );
    expect(methods()).toEqual(['HEAD', 'POST', 'HEAD', 'POST', 'DELETE']);
    expect(registry.uploads.size).toBe(0);
    for (const elsewhere of [source.replace('base', 'app'), 'docker://other.test/team/base', 'oci:dir']) {
      await withDestination((store) => store.has(describeBytes(foreign)), { source: elsewhere });
      expect(methods()).toEqual(['HEAD']);
    }
  });

  it('that the registry does not mount is sent by the upload that it begins instead', async () => {
    const [foreign, other] = [noise(1000), noise(3 * chunk)];
    const source = `docker://${registry.host}/team/base:one`;
    await withDestination(
      async (store) => {
        for (const bytes of [foreign, other]) expect(await store.has(describeBytes(bytes))).toBe(false);
        for (const bytes of [foreign, other]) await commitBlob(store, bytes);
      },
      { source },
    );
    for (const bytes of [foreign, other]) expect(stored(bytes)?.equals(bytes)).toBe(true);
    const asked = ['HEAD', 'POST', 'HEAD', 'POST'];
    expect(methods()).toEqual([...asked, 'HEAD', 'PUT', 'HEAD', 'PATCH', 'PATCH', 'PATCH', 'PUT']);
    expect(registry.uploads.size).toBe(0);
  });

  it('is sent anew when the registry has forgotten that upload', async () => {
    const bytes = noise(1000);
    await withDestination(
      async (store) => {
        expect(await store.has(describeBytes(bytes))).toBe(false);
        registry.uploads.clear();
        await commitBlob(store, bytes);
      },
      { source: `docker://${registry.host}/team/base:one` },
    );
    expect(stored(bytes)?.equals(bytes)).toBe(true);
    expect(methods()).toEqual(['HEAD', 'POST', 'HEAD', 'PUT', 'DELETE', 'POST', 'PUT']);
  });

  it('has the size that its descriptor says, or is not sent', async () => {
    const bytes = noise(1000);
    const longer = { ...describeBytes(bytes), size: 1001 };
    await expect(withDestination((store) => commitBlob(store, bytes, longer))).rejects.toThrow(
      refusal('MISMATCH'),
    );
    await expect(withDestination((store) => store.writeBlob(longer, bytes))).rejects.toThrow(
      refusal('MISMATCH'),
    );
    expect(registry.calls).toEqual([]);
  });
});

describe('an upload', () => {
  const bytes = noise(5 * chunk);

  it('goes on after lost answers, where the registry says that it is', async () => {
    const lost = new Set(['PATCH 1', 'PATCH 3', 'PUT 0']);
    registry.misbehave = (call, response, count) => {
      if (!isUpload(call.path) || !lost.delete(`${call.method} ${count}`)) return false;
      registry.answer(call, { writeHead: () => ({ end: () => undefined }) } as never);
      response.destroy();
      return true;
    };
    await withDestination((store) => commitBlob(store, bytes));
    expect(lost.size).toBe(0);
    expect(stored(bytes)?.equals(bytes)).toBe(true);
    // Each chunk arrived once; the lost PUT was found to have worked.
    expect(methods().filter((method) => method === 'PATCH')).toHaveLength(5);
    expect(methods().filter((method) => method === 'GET')).toHaveLength(2);
    expect(methods().filter((method) => method === 'POST')).toHaveLength(1);
    expect(registry.uploads.size).toBe(0);
  });

  it('goes on after a part of a chunk', async () => {
    registry.misbehave = (call, response, count) => {
      if (call.method !== 'PATCH' || count !== 1) return false;
      const id = call.path.split('/').at(-1)!;
      registry.uploads.set(id, Buffer.concat([registry.uploads.get(id)!, call.body.subarray(0, 777)]));
      response.destroy();
      return true;
    };
    await withDestination((store) => commitBlob(store, bytes));
    expect(stored(bytes)?.equals(bytes)).toBe(true);
    const ranges = registry.calls
      .map(({ headers }) => headers['content-range'])
      .filter((range) => range !== undefined);
    expect(ranges.slice(1, 3)).toEqual(['100000-199999', '100777-200776']);
  });

  it.each([
    [404, 'BLOB_UPLOAD_UNKNOWN'],
    [416, 'RANGE_INVALID'],
    [400, 'BLOB_UPLOAD_INVALID'],
  ])('begins anew when the registry has lost the thread (%i)', async (status, code) => {
    registry.misbehave = ({ method, path }, response, count) => {
      if (method !== 'PATCH' || count !== 2 || !isUpload(path)) return false;
      refuse(response, status, code);
      return true;
    };
    await withDestination((store) => commitBlob(store, bytes));
    expect(stored(bytes)?.equals(bytes)).toBe(true);
    expect(methods().filter((method) => method === 'POST')).toHaveLength(2);
    expect(registry.uploads.size).toBe(0);
  });

  it('does not begin anew for ever', async () => {
    registry.misbehave = ({ method }, response) => {
      if (method !== 'PUT') return false;
      refuse(response, 400, 'DIGEST_INVALID', 'not those bytes');
      return true;
    };
    const error = await caught(() => withDestination((store) => commitBlob(store, bytes)));
    expect(error).toMatchObject({ code: 'IO' });
    expect(error.message).toContain('not those bytes');
    expect(methods().filter((method) => method === 'PUT').length).toBeLessThan(15);
    expect(registry.uploads.size).toBe(0);
  });

  it('goes in one request where chunks are not taken', async () => {
    registry.misbehave = ({ method }, response) => {
      if (method !== 'PATCH') return false;
      refuse(response, 405, 'UNSUPPORTED');
      return true;
    };
    await withDestination((store) => commitBlob(store, bytes));
    expect(stored(bytes)?.equals(bytes)).toBe(true);
    expect(registry.uploads.size).toBe(0);
  });

  it('goes in chunks as large as the registry asks for', async () => {
    registry.misbehave = (call, response) => {
      if (call.method === 'POST') response.setHeader('OCI-Chunk-Min-Length', String(2 * chunk));
      return false;
    };
    await withDestination((store) => commitBlob(store, bytes));
    const sizes = registry.calls.filter(({ method }) => method === 'PATCH').map(({ body }) => body.length);
    expect(sizes).toEqual([2 * chunk, 2 * chunk, chunk]);
  });

  it('takes what the registry takes of a chunk', async () => {
    registry.misbehave = (call, response, count) => {
      if (call.method === 'PATCH' && count === 0) call.body = call.body.subarray(0, 12_345);
      registry.answer(call, response);
      return true;
    };
    await withDestination((store) => commitBlob(store, bytes));
    expect(stored(bytes)?.equals(bytes)).toBe(true);
  });

  it.each([
    ['none', {}],
    ['no URL', { location: 'http://[' }],
    ['a file', { location: 'file:///etc/passwd' }],
  ])('is refused when its place is %s', async (_name, headers) => {
    registry.misbehave = ({ method }, response) => {
      if (method !== 'POST') return false;
      response.writeHead(202, headers).end();
      return true;
    };
    const pushed = withDestination((store) => commitBlob(store, bytes));
    await expect(pushed).rejects.toThrow(refusal('IO', 'names no place for the upload'));
  });

  it('is refused when the registry takes nothing, or more than there is', async () => {
    for (const range of ['0-0', '0-999999']) {
      registry.misbehave = ({ method, path }, response) => {
        if (method !== 'PATCH') return false;
        response.writeHead(202, { location: `/v2/${path}`, range }).end();
        return true;
      };
      const pushed = withDestination((store) => commitBlob(store, bytes));
      await expect(pushed).rejects.toThrow(refusal('IO', 'takes bytes up to'));
    }
  });

  it('to a full registry says so, and is cancelled', async () => {
    registry.misbehave = ({ method }, response) => {
      if (method !== 'PATCH') return false;
      refuse(response, 507, 'DENIED', 'quota exceeded\u0007');
      return true;
    };
    const error = await caught(() => withDestination((store) => commitBlob(store, bytes)));
    expect(error).toMatchObject({ code: 'NO_SPACE', exitCode: 1 });
    expect(error.message).toContain('quota exceeded\\u0007');
    expect(registry.uploads.size).toBe(0);
  });

  it('is cancelled when all is given up', async () => {
    const controller = new AbortController();
    registry.misbehave = ({ method }) => {
      if (method !== 'PATCH') return false;
      controller.abort(); // and never answers
      return true;
    };
    const pushed = withDestination((store) => commitBlob(store, bytes), { signal: controller.signal });
    await expect(pushed).rejects.toThrow(refusal('CANCELLED'));
    expect(methods()).toEqual(['HEAD', 'POST', 'PATCH', 'DELETE']);
    expect(registry.uploads.size).toBe(0);
  });
});

describe('a reference', () => {
  const { bytes, descriptor } = sampleManifest();

  it('is set last, and its manifest goes by its digest before', async () => {
    await withDestination(async (store) => {
      await store.writeBlob(descriptor, bytes);
      expect([...registry.manifests.keys()]).toEqual([`team/app ${descriptor.digest}`]);
      await store.setReference('one', descriptor);
    });
    expect(registry.manifests.get('team/app one')).toEqual({ mediaType: types.manifest, bytes });
    expect(registry.takeCalls()).toEqual([
      `HEAD team/app/manifests/${descriptor.digest}`,
      `PUT team/app/manifests/${descriptor.digest}`,
      'PUT team/app/manifests/one',
    ]);
  });

  it('may be the digest itself, and must be the right one', async () => {
    await withDestination(async (store) => {
      await store.writeBlob(descriptor, bytes);
      await store.setReference(descriptor.digest, descriptor);
      await store.setReference(undefined, descriptor);
      const other = digestOf(Buffer.from('other'));
      await expect(store.setReference(other, descriptor)).rejects.toThrow(refusal('MISMATCH', other));
    });
    expect([...registry.manifests.keys()]).toEqual([`team/app ${descriptor.digest}`]);
  });

  it('may be set to what was there before', async () => {
    registry.putManifest('team/app', 'old', types.manifest, bytes);
    await withDestination((store) => store.setReference('new', descriptor));
    expect(registry.manifests.get('team/app new')?.bytes.equals(bytes)).toBe(true);
  });

  it('is not a tag and a digest at once', async () => {
    const both = reference({ digest: descriptor.digest });
    await expect(RegistryDestination.open(both, quick())).rejects.toThrow(refusal('USAGE', 'not both'));
  });

  it('is tried again after faults', async () => {
    registry.misbehave = ({ method }, response, count) => {
      if (method !== 'PUT' || count % 2 === 1) return false;
      if (count === 0) refuse(response, 503, 'UNAVAILABLE');
      else response.destroy();
      return true;
    };
    await withDestination(async (store) => {
      await store.writeBlob(descriptor, bytes);
      await store.setReference('one', descriptor);
    });
    expect(registry.manifests.has('team/app one')).toBe(true);
  });

  it('is set again when something else has arrived', async () => {
    registry.misbehave = (call, _response, count) => {
      if (call.method === 'PUT' && count === 1) call.body[5]! ^= 1;
      return false;
    };
    await withDestination(async (store) => {
      await store.writeBlob(descriptor, bytes);
      await store.setReference('one', descriptor);
    });
    expect(registry.takeCalls().filter((call) => call.endsWith('PUT team/app/manifests/one'))).toHaveLength(
      2,
    );
    expect(registry.manifests.get('team/app one')?.bytes.equals(bytes)).toBe(true);
  });

  it('a manifest may come as a draft', async () => {
    await withDestination((store) => commitBlob(store, bytes, descriptor));
    expect(registry.manifests.get(`team/app ${descriptor.digest}`)?.bytes.equals(bytes)).toBe(true);
  });
});
