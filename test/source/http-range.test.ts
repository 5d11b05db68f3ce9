import { createServer, request as httpRequest } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { Readable, pipeline } from 'node:stream';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { openHttpSource } from '../../src/source/http-range';
import { transientFaultOf } from '../../src/source/transient';
import { caught } from '../support/caught';
import { RangeServer } from '../support/range-server';
import { refusal } from '../support/refusal';

const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff));

let server: RangeServer;
beforeEach(async () => {
  server = await RangeServer.start(bytes);
  for (const name of ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy', 'NO_PROXY', 'no_proxy']) {
    vi.stubEnv(name, undefined);
  }
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await server.stop();
});

describe('HTTP source', () => {
  it('reads parts, and asks for nothing else', async () => {
    const source = await openHttpSource(server.url);
    expect(source).toMatchObject({ size: bytes.length, name: server.url });
    const parts = await Promise.all([source.read(0, 10), source.read(500, 5000), source.read(99_999, 1)]);
    expect(parts.map((part) => part.toString('hex'))).toEqual(
      [bytes.subarray(0, 10), bytes.subarray(500, 5500), bytes.subarray(99_999)].map((part) =>
        part.toString('hex'),
      ),
    );
    expect(await source.read(7, 0)).toHaveLength(0);
    expect((await source.read(0, bytes.length)).equals(bytes)).toBe(true);
    expect(server.takeRanges().sort()).toEqual(['0-0', '0-9', '0-99999', '500-5499', '99999-99999']);
    await expect(source.read(99_999, 2)).rejects.toThrow(refusal('CORRUPT', 'not inside'));
    expect(server.requests).toHaveLength(0);
    await source.close();
  });

  it('asks for one thing after the other by one connection', async () => {
    const ports = new Set<number>();
    const counted = createServer((_request, response) => {
      ports.add(response.socket!.remotePort!);
      response.writeHead(206, { 'content-range': 'bytes 0-0/1', 'content-length': 1 }).end('x');
    });
    await new Promise<void>((resolve) => counted.listen(0, '127.0.0.1', resolve));
    const source = await openHttpSource(`http://127.0.0.1:${(counted.address() as AddressInfo).port}/`);
    for (let i = 0; i < 4; i++) await source.read(0, 1);
    expect(ports.size).toBe(1);
    await source.close();
    await new Promise((resolve) => counted.close(resolve));
  });

  it('sends what it knows of the object: a strong tag, or a date that is not young', async () => {
    const conditions = async () => {
      const source = await openHttpSource(server.url);
      await source.read(0, 2);
      await source.close();
      return server.requests.splice(0).map(({ headers }) => headers['if-range']);
    };
    expect(await conditions()).toEqual([undefined, '"one"']);
    server.etag = 'W/"weak"';
    expect(await conditions()).toEqual([undefined, undefined]);
    server.lastModified = new Date(Date.now() - 5_000).toUTCString();
    expect(await conditions()).toEqual([undefined, undefined]);
    server.lastModified = new Date(Date.now() - 120_000).toUTCString();
    expect(await conditions()).toEqual([undefined, server.lastModified]);
    server.etag = undefined;
    expect(await conditions()).toEqual([undefined, server.lastModified]);
  });

  it('takes an empty object', async () => {
    server.bytes = Buffer.alloc(0);
    const source = await openHttpSource(server.url);
    expect(source.size).toBe(0);
    await source.close();
  });

  it('follows redirects each time, and tells its credentials to nobody else', async () => {
    const other = await RangeServer.start(bytes);
    server.misbehave = ({ url }, response) => {
      if (url === '/2') response.writeHead(307, { location: `${other.origin}/there?sig=1` }).end();
      else response.writeHead(302, { location: '/2' }).end('moved');
      return true;
    };
    const source = await openHttpSource(server.url.replace('//', '//me:p%40ss@'));
    expect((await source.read(1000, 10)).equals(bytes.subarray(1000, 1010))).toBe(true);
    const basic = `Basic ${Buffer.from('me:p@ss').toString('base64')}`;
    expect(server.requests.map(({ url, headers }) => [url, headers.authorization])).toEqual([
      ...[
        ['/blob', basic],
        ['/2', basic],
      ],
      ...[
        ['/blob', basic],
        ['/2', basic],
      ],
    ]);
    expect(other.requests.map(({ url, headers }) => [url, headers.authorization])).toEqual([
      ['/there?sig=1', undefined],
      ['/there?sig=1', undefined],
    ]);
    await source.close();
    await other.stop();
  });

  it('does not run in circles', async () => {
    server.misbehave = (_, response) => {
      response.writeHead(301, { location: server.url }).end();
      return true;
    };
    await expect(openHttpSource(server.url)).rejects.toThrow(refusal('IO', 'redirects more than 10 times'));
    expect(server.requests).toHaveLength(11);
  });

  it('never shows credentials or a query', async () => {
    const source = await openHttpSource(`${server.url.replace('//', '//me:secret@')}?token=secret`);
    expect(source.name).toBe(`${server.url}?…`);
    server.misbehave = (_, response) => {
      response.writeHead(403).end();
      return true;
    };
    const error = await caught(() => source.read(0, 1));
    expect(error).toMatchObject({
      code: 'IO',
      message: `${server.url}?…: the server answers with status 403`,
    });
    await source.close();
  });
});

describe('a server that misbehaves', () => {
  async function readWith(
    misbehave: RangeServer['misbehave'],
    range = { offset: 100, length: 1000 },
  ): Promise<unknown> {
    const source = await openHttpSource(server.url);
    try {
      server.misbehave = misbehave;
      return await caught(() => source.read(range.offset, range.length));
    } finally {
      await source.close();
    }
  }

  it('ignores Range: the body is cut off, unless all was asked for', async () => {
    let sent = 0;
    let isOver = false;
    server.bytes = Buffer.alloc(64 << 20);
    const sendAll: RangeServer['misbehave'] = (_, response) => {
      const pieces = function* () {
        for (; sent < server.bytes.length; sent += 65_536) yield server.bytes.subarray(sent, sent + 65_536);
      };
      response.writeHead(200, { 'content-length': server.bytes.length, etag: server.etag });
      pipeline(Readable.from(pieces()), response, () => (isOver = true));
      return true;
    };
    expect(await readWith(sendAll)).toMatchObject({
      code: 'UNSUPPORTED',
      why: 'the server sends all of the object where a part was asked for',
      hint: expect.stringContaining('download it') as string,
    });
    await vi.waitFor(() => {
      expect(isOver).toBe(true);
    });
    expect(sent).toBeLessThan(32 << 20);
    server.bytes = bytes;
    server.misbehave = (_, response) => {
      server.sendAll(response);
      return true;
    };
    const source = await openHttpSource(server.url);
    expect(source.size).toBe(bytes.length);
    expect((await source.read(0, bytes.length)).equals(bytes)).toBe(true);
    await expect(source.read(0, 10)).rejects.toThrow(refusal('UNSUPPORTED'));
    await source.close();
  });

  it('has a new object, and says so by its tag', async () => {
    const newTag: RangeServer['misbehave'] = ({ range }, response) => {
      const headers = { ...server.headers(range!.first, range!.last), etag: '"two"' };
      response.writeHead(206, headers).end(bytes.subarray(range!.first, range!.last + 1));
      return true;
    };
    expect(await readWith(newTag)).toMatchObject({
      code: 'MISMATCH',
      message: `${server.url}: the object has changed: etag is "two" instead of "one"`,
    });
  });

  it('has a new object, and answers If-Range with it', async () => {
    const source = await openHttpSource(server.url);
    server.etag = '"two"';
    await expect(source.read(0, 10)).rejects.toThrow(refusal('MISMATCH', 'etag is "two"'));
    await expect(source.read(0, bytes.length)).rejects.toThrow(refusal('MISMATCH', 'etag is "two"'));
    await source.close();
  });

  it('has a new object, and only its date tells', async () => {
    server.etag = undefined;
    server.lastModified = new Date(Date.now() - 5_000).toUTCString();
    const source = await openHttpSource(server.url);
    expect(await source.read(0, 10)).toHaveLength(10);
    server.lastModified = new Date().toUTCString();
    await expect(source.read(0, 10)).rejects.toThrow(refusal('MISMATCH', 'last-modified is'));
    await source.close();
  });

  it('has a new object, and only its size tells', async () => {
    server.etag = undefined;
    const source = await openHttpSource(server.url);
    server.bytes = bytes.subarray(0, 50_000);
    await expect(source.read(0, 10)).rejects.toThrow(refusal('MISMATCH', '50000 bytes instead of 100000'));
    await expect(source.read(60_000, 10)).rejects.toThrow(refusal('MISMATCH', 'no bytes from 60000 on'));
    await expect(source.read(0, bytes.length)).rejects.toThrow(refusal('MISMATCH', '50000 bytes'));
    await source.close();
  });

  it.each([
    ['bytes 101-1100/100000', 'CORRUPT', 'the server sends bytes 101 to 1100, but bytes 100 to 1099'],
    ['bytes 100-1098/100000', 'CORRUPT', 'the server sends bytes 100 to 1098'],
    ['bytes 100-1099/100001', 'MISMATCH', '100001 bytes instead of 100000'],
    ['bytes 100-1099', 'CORRUPT', 'its Content-Range is "bytes 100-1099"'],
    ['', 'CORRUPT', 'its Content-Range is ""'],
  ] as const)('says Content-Range: %s', async (contentRange, code, message) => {
    const error = await readWith((_, response) => {
      response.writeHead(206, contentRange === '' ? {} : { 'content-range': contentRange });
      response.end(bytes.subarray(100, 1100));
      return true;
    });
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) as string });
  });

  it('sends too much', async () => {
    const error = await readWith((_, response) => {
      response.writeHead(206, { 'content-range': 'bytes 100-1099/100000' }).end(bytes.subarray(100, 1101));
      return true;
    });
    expect(error).toMatchObject({
      code: 'CORRUPT',
      why: 'the server sends more than the 1000 bytes asked for',
    });
  });

  it('sends too little', async () => {
    const error = await readWith((_, response) => {
      response.writeHead(206, { 'content-range': 'bytes 100-1099/100000' }).end(bytes.subarray(100, 1000));
      return true;
    });
    expect(error).toMatchObject({ code: 'IO', why: 'the server sends 900 bytes where 1000 were asked for' });
    expect(transientFaultOf(error)).not.toBeNull();
  });

  it('cuts the connection, before the answer and in its middle', async () => {
    const before = await readWith((_, response) => {
      response.destroy();
      return true;
    });
    expect(before).toMatchObject({ code: 'IO', what: server.url });
    expect(transientFaultOf(before)).not.toBeNull();
    server.misbehave = () => false;
    const middle = await readWith(({ range }, response) => {
      response.writeHead(206, server.headers(range!.first, range!.last));
      response.write(bytes.subarray(100, 500), () => response.destroy());
      return true;
    });
    expect(middle).toMatchObject({ code: 'IO', what: server.url });
    expect(transientFaultOf(middle)).not.toBeNull();
  });

  it('compresses, or does not tell the size', async () => {
    server.misbehave = (_, response) => {
      response.writeHead(206, { ...server.headers(0, 0), 'content-encoding': 'gzip' }).end('x');
      return true;
    };
    await expect(openHttpSource(server.url)).rejects.toThrow(
      refusal('UNSUPPORTED', 'Content-Encoding: gzip'),
    );
    server.misbehave = (_, response) => {
      response.writeHead(206, { 'content-range': 'bytes 0-0/*' }).end('x');
      return true;
    };
    await expect(openHttpSource(server.url)).rejects.toThrow(refusal('UNSUPPORTED', 'size'));
    server.misbehave = (_, response) => {
      response.writeHead(200).write('a body without a length');
      response.end();
      return true;
    };
    await expect(openHttpSource(server.url)).rejects.toThrow(refusal('UNSUPPORTED', 'size'));
  });

  it.each([
    [404, 'NOT_FOUND', false],
    [410, 'NOT_FOUND', false],
    [401, 'IO', false],
    [403, 'IO', false],
    [408, 'IO', true],
    [429, 'IO', true],
    [500, 'IO', true],
    [501, 'IO', false],
    [503, 'IO', true],
    [304, 'IO', false],
  ] as const)('answers with status %i', async (status, code, isTransient) => {
    const error = await readWith((_, response) => {
      response.writeHead(status, { 'retry-after': '3' }).end();
      return true;
    });
    expect(error).toMatchObject({ code, why: `the server answers with status ${status}` });
    expect(transientFaultOf(error)?.retryAfter).toBe(isTransient ? 3000 : undefined);
  });

  it('gives a date to come back at', async () => {
    const error = await readWith((_, response) => {
      response.writeHead(503, { 'retry-after': new Date(Date.now() + 60_000).toUTCString() }).end();
      return true;
    });
    expect(transientFaultOf(error)!.retryAfter).toBeGreaterThan(55_000);
    expect(transientFaultOf(error)!.retryAfter).toBeLessThanOrEqual(60_000);
  });

  it('is silent', async () => {
    const source = await openHttpSource(server.url, { timeout: 100 });
    server.misbehave = () => true;
    const silent = await caught(() => source.read(0, 10));
    expect(silent.code).toBe('IO');
    expect(transientFaultOf(silent)).not.toBeNull();
    server.misbehave = ({ range }, response) => {
      response.writeHead(206, server.headers(range!.first, range!.last)).write('x');
      return true;
    };
    expect(transientFaultOf(await caught(() => source.read(0, 10)))).not.toBeNull();
    await source.close();
  });

  it('is not there', async () => {
    const { url } = server;
    await server.stop();
    const error = await caught(() => openHttpSource(url));
    expect(error).toMatchObject({ code: 'IO', what: url });
    expect(error.why).toContain('ECONNREFUSED');
    server = await RangeServer.start(bytes);
  });
});

describe('signals', () => {
  it('end the opening, and each read for itself', async () => {
    await expect(openHttpSource(server.url, { signal: AbortSignal.abort() })).rejects.toThrow(
      refusal('CANCELLED'),
    );
    const source = await openHttpSource(server.url);
    const isHeld: RangeServer['misbehave'] = ({ range }, response) => {
      if (range!.first !== 5) return false;
      response.writeHead(206, server.headers(5, range!.last)).write('x');
      return true;
    };
    server.misbehave = isHeld;
    const controller = new AbortController();
    const held = caught(() => source.read(5, 10, controller.signal));
    expect(await source.read(6, 10, controller.signal)).toHaveLength(10);
    await vi.waitFor(() => {
      expect(server.requests.some(({ range }) => range?.first === 5)).toBe(true);
    });
    controller.abort(new Error('a reason of the caller'));
    expect((await held).code).toBe('CANCELLED');
    await source.close();
  });

  it('are not needed for close() to end reads', async () => {
    const source = await openHttpSource(server.url);
    server.misbehave = () => true;
    const held = caught(() => source.read(5, 10));
    await source.close();
    expect((await held).code).toBe('IO');
  });
});

describe('proxies', () => {
  it('are used as the environment says', async () => {
    const asked: string[] = [];
    const proxy = createServer((request, response) => {
      asked.push(`${request.method!} ${request.url!}`);
      const target = httpRequest(request.url!, { headers: request.headers }, (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      });
      target.end();
    });
    proxy.on('connect', (request, socket) => {
      asked.push(`${request.method!} ${request.url!}`);
      const target = connect(server.port, '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        target.pipe(socket).pipe(target);
      });
      target.on('error', () => socket.destroy());
      socket.on('error', () => target.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    vi.stubEnv('HTTP_PROXY', `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`);
    vi.stubEnv('HTTPS_PROXY', `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`);

    const source = await openHttpSource(server.url);
    expect((await source.read(10, 10)).equals(bytes.subarray(10, 20))).toBe(true);
    await source.close();
    expect(asked.splice(0)).toEqual([`GET ${server.url}`, `GET ${server.url}`]);

    // No TLS behind it, so this can't succeed; but it is asked.
    await caught(() => openHttpSource('https://example.test/blob', { timeout: 1000 }));
    expect(asked.splice(0)).toEqual(['CONNECT example.test:443']);

    vi.stubEnv('NO_PROXY', '127.0.0.1');
    await (await openHttpSource(server.url)).close();
    expect(asked).toEqual([]);

    vi.stubEnv('HTTP_PROXY', 'http://user:secret@:bad:');
    const error = await caught(() => openHttpSource(server.url));
    expect(error.code).toBe('USAGE');
    expect(error.message).not.toContain('secret');
    proxy.closeAllConnections();
    proxy.close();
  });
});
