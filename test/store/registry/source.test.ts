import { beforeEach, describe, expect, it } from 'vitest';
import type { Descriptor } from '../../../src/oci/types';
import { openRegistryBlob, RegistrySource } from '../../../src/store/registry/source';
import { caught } from '../../support/caught';
import { refuse } from '../../support/fake-registry';
import { refusal } from '../../support/refusal';
import {
  describeBytes,
  digestOf,
  noise,
  quick,
  reference,
  registry,
  sampleManifest,
  types,
  useRegistry,
} from './sample';

useRegistry();

const open = () => RegistrySource.open(reference(), quick());

/** Runs with a source, and closes it. */
async function withSource<T>(use: (source: RegistrySource) => Promise<T>, options = {}): Promise<T> {
  const source = await RegistrySource.open(reference(), { ...quick(), ...options });
  registry.takeCalls(); // what asks for TLS gets nowhere, but the plain protocol might be asked for first one day
  try {
    return await use(source);
  } finally {
    await source.close();
  }
}

describe('manifests', () => {
  const { bytes, descriptor } = sampleManifest();
  beforeEach(() => {
    registry.putManifest('team/app', 'one', types.manifest, bytes);
  });

  it('are found by tag and by digest, and fetched once', async () => {
    await withSource(async (source) => {
      expect(source.name).toBe(`docker://${registry.host}/team/app`);
      expect(await source.resolve('one')).toEqual(descriptor);
      expect((await source.readJson(descriptor)).equals(bytes)).toBe(true);
      expect(registry.takeCalls()).toEqual(['GET team/app/manifests/one']);
      expect(await source.resolve(descriptor.digest)).toEqual(descriptor);
    });
    await withSource(async (source) => {
      expect((await source.readJson(descriptor)).equals(bytes)).toBe(true);
      expect(registry.takeCalls()).toEqual([`GET team/app/manifests/${descriptor.digest}`]);
    });
  });

  it('are accepted in all forms, and asked for as such', async () => {
    await withSource((source) => source.resolve('one'));
    const accept = registry.calls.at(-1)?.headers.accept ?? '';
    expect(accept.split(', ')).toEqual([
      types.index,
      types.manifest,
      'application/vnd.docker.distribution.manifest.list.v2+json',
      'application/vnd.docker.distribution.manifest.v2+json',
    ]);
  });

  it.each([
    ['text/plain; charset=utf-8', { schemaVersion: 2, mediaType: types.index, manifests: [] }, types.index],
    ['text/plain', { schemaVersion: 2, manifests: [] }, types.index],
    ['', { schemaVersion: 2, config: {}, layers: [] }, types.manifest],
    [`${types.index}; charset=utf-8`, { schemaVersion: 2, manifests: [] }, types.index],
    ['application/json', { schemaVersion: 1 }, 'application/vnd.docker.distribution.manifest.v1+json'],
    ['application/json', { schemaVersion: 2, mediaType: 'application/x-strange' }, 'application/x-strange'],
  ])('served as "%s" are known by what they say themselves', async (served, document, expected) => {
    registry.putManifest('team/app', 'odd', served, document);
    expect((await withSource((source) => source.resolve('odd'))).mediaType).toBe(expected);
  });

  it('with a media type that is none are refused, without its characters', async () => {
    registry.putManifest('team/app', 'odd', '', { mediaType: 'a\u001b[31m' });
    const error = await caught(() => withSource((source) => source.resolve('odd')));
    expect(error).toMatchObject({ code: 'CORRUPT' });
    expect(error.message).toContain('"a\\u001b[31m" is no media type');
  });

  it('are checked against the digest that was asked for, whatever the registry says', async () => {
    const other = digestOf(Buffer.from('other'));
    let claimed = other;
    registry.misbehave = (_call, response) => {
      response.writeHead(200, { 'docker-content-digest': claimed }).end(bytes);
      return true;
    };
    // It is no proof, but a sign that the bytes are not what they were.
    await expect(withSource((source) => source.resolve('one'))).rejects.toThrow(refusal('MISMATCH', other));
    claimed = 'nonsense';
    expect((await withSource((source) => source.resolve('one'))).digest).toBe(descriptor.digest);
    await expect(withSource((source) => source.resolve(other))).rejects.toThrow(refusal('MISMATCH', other));
    const wrong = { ...descriptor, digest: other };
    await expect(withSource((source) => source.readJson(wrong))).rejects.toThrow(refusal('MISMATCH', other));
  });

  it('of a gigabyte are refused before they are read', async () => {
    let sent = 0;
    registry.misbehave = (_call, response, count) => {
      response.writeHead(200, count === 0 ? { 'content-length': 1 << 30 } : {});
      const more = (): void => {
        while (!response.destroyed && sent < 1 << 30 && response.write(Buffer.alloc(1 << 20)))
          sent += 1 << 20;
      };
      response.on('drain', more);
      more();
      return true;
    };
    const huge = refusal('UNSUPPORTED', 'bytes where at most 4194304 make sense');
    await expect(withSource((source) => source.resolve('one'))).rejects.toThrow(huge);
    expect(sent).toBeLessThan(16 << 20);
    await expect(withSource((source) => source.resolve('two'))).rejects.toThrow(huge);
    expect(sent).toBeLessThan(160 << 20);
  });

  it('that are no JSON are CORRUPT', async () => {
    registry.putManifest('team/app', 'bad', types.manifest, Buffer.from('<html>'));
    await expect(withSource((source) => source.resolve('bad'))).rejects.toThrow(
      refusal('CORRUPT', 'not JSON'),
    );
  });
});

describe('what is not there', () => {
  it('is told with some tags that are', async () => {
    for (let i = 0; i < 12; i++) registry.putManifest('team/app', `v${i}`, types.manifest, { i });
    const error = await caught(() => withSource((source) => source.resolve('none')));
    expect(error).toMatchObject({ code: 'NOT_FOUND', what: `docker://${registry.host}/team/app:none` });
    expect(error.hint).toMatch(/^tags there: (v\d+, ){9}v\d+ …$/);
    expect(registry.calls.at(-1)?.query.get('n')).toBe('11');
  });

  it('may be the whole repository', async () => {
    await expect(withSource((source) => source.resolve('one'))).rejects.toThrow(
      refusal('NOT_FOUND', 'no such repository'),
    );
  });

  it('may be a blob', async () => {
    const missing = describeBytes(Buffer.from('missing'));
    await withSource(async (source) => {
      await expect(source.openFile(missing)).rejects.toThrow(refusal('NOT_FOUND', missing.digest));
      const blob = await source.openBlob(missing);
      await expect(blob.read(0, 3)).rejects.toThrow(refusal('NOT_FOUND', missing.digest));
    });
  });
});

describe('a blob for random access', () => {
  it('is fetched in the parts that are read, and nothing else', async () => {
    const bytes = noise(100_000);
    registry.putBlob('team/app', bytes);
    await withSource(async (source) => {
      const blob = await source.openBlob(describeBytes(bytes));
      expect(registry.takeCalls()).toEqual([]);
      const parts = await Promise.all([blob.read(0, 10), blob.read(5000, 600), blob.read(99_999, 1)]);
      const expected = [bytes.subarray(0, 10), bytes.subarray(5000, 5600), bytes.subarray(99_999)];
      expect(parts.map((part) => part.toString('hex'))).toEqual(expected.map((part) => part.toString('hex')));
      const ranges = registry.calls.map(({ headers }) => headers.range).sort();
      expect(ranges).toEqual(['bytes=0-9', 'bytes=5000-5599', 'bytes=99999-99999']);
      await blob.close();
    });
  });

  it('is opened by its repository and descriptor as well', async () => {
    const bytes = noise(1000);
    registry.putBlob('team/app', bytes);
    const blob = await openRegistryBlob(`docker://${registry.host}/team/app`, describeBytes(bytes), quick());
    expect(blob.size).toBe(1000);
    expect((await blob.read(10, 20)).equals(bytes.subarray(10, 30))).toBe(true);
    await blob.close();
    await expect(openRegistryBlob('oci:dir', describeBytes(bytes))).rejects.toThrow(
      refusal('USAGE', 'oci:dir'),
    );
  });

  it('is MISMATCH when it has another size, and tried again when the registry stumbles', async () => {
    const bytes = noise(1000);
    const descriptor = describeBytes(bytes);
    registry.putBlob('team/app', bytes);
    registry.misbehave = (_call, response, count) => {
      if (count > 1) return false;
      refuse(response, 503, 'UNAVAILABLE');
      return true;
    };
    await withSource(async (source) => {
      expect(await (await source.openBlob(descriptor)).read(0, 5)).toEqual(bytes.subarray(0, 5));
      const longer = await source.openBlob({ ...descriptor, size: 2000 });
      await expect(longer.read(0, 5)).rejects.toThrow(refusal('MISMATCH', '1000 bytes instead of 2000'));
    });
  });
});

describe('a blob as a file', () => {
  const bytes = noise(3_000_000);
  const descriptor = describeBytes(bytes);
  beforeEach(() => {
    registry.putBlob('team/app', bytes);
  });

  const fetchAll = async (wanted: Descriptor = descriptor, options = {}) =>
    withSource(async (source) => {
      const file = await source.openFile(wanted);
      try {
        return await file.read(0, file.size);
      } finally {
        await file.close();
      }
    }, options);

  it('comes whole, in one request, with its progress', async () => {
    const events: unknown[] = [];
    await withSource(async (source) => {
      const file = await source.openFile(descriptor, { onProgress: (event) => events.push(event) });
      expect(file).toMatchObject({ size: bytes.length, offset: 0, name: `blob ${descriptor.digest}` });
      expect((await file.read(0, file.size)).equals(bytes)).toBe(true);
      await file.close();
    });
    expect(registry.takeCalls()).toEqual([`GET team/app/blobs/${descriptor.digest}`]);
    const { size } = descriptor;
    expect(events.at(-1)).toEqual({
      phase: 'fetch',
      item: descriptor.digest,
      done: size,
      total: size,
      unit: 'bytes',
    });
  });

  it('goes on where a connection broke, with what is missing', async () => {
    let sent = 0;
    registry.misbehave = ({ headers }, response) => {
      const first = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0);
      if (first > 2_000_000) return false;
      const status = first === 0 ? 200 : 206;
      const range =
        first === 0 ? {} : { 'content-range': `bytes ${first}-${bytes.length - 1}/${bytes.length}` };
      response.writeHead(status, { 'content-length': bytes.length - first, ...range });
      const part = bytes.subarray(first, first + 400_000);
      sent += part.length;
      response.write(part, () => response.destroy());
      return true;
    };
    expect((await fetchAll()).equals(bytes)).toBe(true);
    const last = /^bytes=(\d+)-$/.exec(registry.calls.at(-1)?.headers.range ?? '')![1]!;
    const twice = sent + bytes.length - Number(last) - bytes.length;
    // Pieces that were under way are lost; far less than a chunk.
    expect(twice).toBeLessThan(1 << 20);
    expect(registry.calls.length).toBeGreaterThan(5); // more than a row of failures would be allowed
  });

  it('gives up when nothing comes any more', async () => {
    registry.misbehave = (_call, response) => {
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, 1000), () => response.destroy());
      return true;
    };
    await expect(fetchAll()).rejects.toThrow(refusal('IO'));
    expect(registry.takeCalls()).toHaveLength(5);
  });

  it('comes from a server that knows no ranges, from its start again', async () => {
    registry.misbehave = (_call, response, count) => {
      response.writeHead(200, { 'content-length': bytes.length });
      if (count === 0) response.write(bytes.subarray(0, 1_000_000), () => response.destroy());
      else response.end(bytes);
      return true;
    };
    expect((await fetchAll()).equals(bytes)).toBe(true);
    expect(registry.calls.length).toBeGreaterThan(1);
  });

  it.each([
    [
      'changed bytes',
      Buffer.concat([bytes.subarray(0, -1), Buffer.of(bytes.at(-1)! ^ 1)]),
      'MISMATCH',
      'digest is',
    ],
    ['too many bytes', Buffer.concat([bytes, Buffer.of(0)]), 'MISMATCH', '3000001 bytes'],
    ['too few bytes', bytes.subarray(1), 'MISMATCH', '2999999 bytes'],
  ] as const)('with %s is refused at once', async (_name, wrong, code, text) => {
    registry.blobs.set(`team/app ${descriptor.digest}`, wrong);
    await expect(fetchAll()).rejects.toThrow(refusal(code, text));
    expect(registry.takeCalls()).toHaveLength(1);
  });

  it('with more bytes than announced nowhere is refused', async () => {
    registry.misbehave = (_call, response) => {
      response.writeHead(200).end(Buffer.concat([bytes, Buffer.of(0)]));
      return true;
    };
    await expect(fetchAll()).rejects.toThrow(refusal('MISMATCH', 'more than 3000000'));
  });

  it('is refused when a range is another than the one asked for', async () => {
    registry.misbehave = ({ headers }, response) => {
      if (headers.range === undefined) {
        response.writeHead(200, { 'content-length': bytes.length });
        response.write(bytes.subarray(0, 1_000_000), () => response.destroy());
      } else {
        response
          .writeHead(206, { 'content-range': `bytes 0-${bytes.length - 1}/${bytes.length}` })
          .end(bytes);
      }
      return true;
    };
    await expect(fetchAll()).rejects.toThrow(refusal('CORRUPT', 'bytes from 0 on instead of'));
  });

  it('may be empty', async () => {
    const empty = Buffer.alloc(0);
    registry.putBlob('team/app', empty);
    expect(await fetchAll(describeBytes(empty))).toHaveLength(0);
  });

  it('may have a SHA-512 digest', async () => {
    const { createHash } = await import('node:crypto');
    const digest = `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
    registry.blobs.set(`team/app ${digest}`, bytes);
    expect((await fetchAll({ ...descriptor, digest })).equals(bytes)).toBe(true);
  });

  it('may be a manifest, which registries keep elsewhere', async () => {
    const manifest = sampleManifest();
    registry.putManifest('team/app', 'one', types.manifest, manifest.bytes);
    expect((await fetchAll(manifest.descriptor)).equals(manifest.bytes)).toBe(true);
  });

  it('is cancelled by a signal', async () => {
    const controller = new AbortController();
    registry.misbehave = (_call, response) => {
      response.writeHead(200, { 'content-length': bytes.length }).write(bytes.subarray(0, 100_000));
      controller.abort();
      return true;
    };
    await withSource(async (source) => {
      await expect(source.openFile(descriptor, { signal: controller.signal })).rejects.toThrow(
        refusal('CANCELLED'),
      );
    });
  });

  it('is not waited for when the registry falls silent', async () => {
    registry.misbehave = (_call, response) => {
      response.writeHead(200, { 'content-length': bytes.length }).write(bytes.subarray(0, 1000));
      return true;
    };
    const options = { timeout: 100, retry: { attempts: 2, firstPause: 1 } };
    await expect(fetchAll(descriptor, options)).rejects.toThrow(refusal('IO'));
    expect(registry.takeCalls()).toHaveLength(2);
  });
});

describe('errors of a registry', () => {
  const errorFor = async (status: number, message: string, headers = {}) => {
    registry.misbehave = (_call, response) => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(JSON.stringify({ errors: [{ code: 'X', message }] }));
      return true;
    };
    return caught(() => withSource((source) => source.resolve('one')));
  };

  it.each([
    [400, 'IO'],
    [403, 'IO'],
    [410, 'NOT_FOUND'],
    [500, 'IO'],
    [507, 'NO_SPACE'],
  ])('with status %i are %s, with its words', async (status, code) => {
    expect(await errorFor(status, 'its words')).toMatchObject({ code });
    const { message } = await errorFor(status, 'its words');
    expect(message).toContain(`status ${status}: its words`);
  });

  it('about a full disk are NO_SPACE', async () => {
    expect(await errorFor(500, 'write: no space left on device')).toMatchObject({ code: 'NO_SPACE' });
  });

  it('are short and harmless', async () => {
    const { message } = await errorFor(400, `\u001b[2J${'x'.repeat(20_000)}`);
    expect(message.length).toBeLessThan(400);
    expect(message).toContain('\\u001b[2Jxxx');
  });

  it('are tried again when they may pass, after the time that the registry asks for', async () => {
    await errorFor(429, 'busy', { 'retry-after': '0' });
    expect(registry.takeCalls()).toHaveLength(5);
    expect(await errorFor(429, 'busy', { 'retry-after': '3600' })).toMatchObject({ code: 'IO' });
    expect(registry.takeCalls()).toHaveLength(1);
    await errorFor(400, 'never');
    expect(registry.takeCalls()).toHaveLength(1);
  });

  it('a refused connection is an IO error', async () => {
    const source = await open();
    await registry.stop();
    const error = await caught(() => source.resolve('one'));
    expect(error).toMatchObject({ code: 'IO' });
    expect(error.message).toContain('ECONNREFUSED');
    await source.close();
  });
});

describe('requests at once', () => {
  it('are as many as asked for', async () => {
    const blobs = Array.from({ length: 12 }, () => noise(1000));
    for (const blob of blobs) registry.putBlob('team/app', blob);
    let now = 0;
    let most = 0;
    const held: (() => void)[] = [];
    registry.misbehave = (call, response) => {
      most = Math.max(most, ++now);
      held.push(() => {
        now--;
        registry.answer(call, response);
      });
      // Nobody is answered before as many have come as may come.
      if (held.length === 3) for (const go of held.splice(0)) go();
      return true;
    };
    await withSource(
      async (source) => {
        const files = await Promise.all(blobs.map((blob) => source.openFile(describeBytes(blob))));
        for (const file of files) await file.close();
      },
      { concurrency: 3 },
    );
    expect(most).toBe(3);
  });
});
