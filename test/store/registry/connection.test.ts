import { getEventListeners } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, request as httpRequest, type Server } from 'node:http';
import {
  connect,
  createServer as createTcpServer,
  type AddressInfo,
  type Server as TcpServer,
} from 'node:net';
import { createServer as createTlsServer } from 'node:https';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { apiHost, isLoopback } from '../../../src/store/registry/origin';
import { openSource } from '../../../src/store/open';
import { RegistryClient } from '../../../src/store/registry/client';
import type { StoreOptions } from '../../../src/store/registry/options';
import { RegistrySource } from '../../../src/store/registry/source';
import { caught } from '../../support/caught';
import { Authority } from '../../support/certificates';
import { FakeRegistry } from '../../support/fake-registry';
import { refusal } from '../../support/refusal';
import { digestOf, home, quick, reference, registry, sampleManifest, types, useRegistry } from './sample';

useRegistry();

const { bytes, descriptor } = sampleManifest();
const put = (to: FakeRegistry) => to.putManifest('team/app', 'one', types.manifest, bytes);
beforeEach(() => {
  put(registry);
});

const closing: { close?: (done: () => void) => unknown; stop?: () => Promise<void> }[] = [];
afterEach(async () => {
  for (const { close, stop } of closing.splice(0)) {
    await stop?.();
    if (close !== undefined) await new Promise<void>((done) => close(done));
  }
});

const closeLater = (server: Server | TcpServer): void => {
  closing.push({ close: (done) => server.close(done) });
};

async function resolve(host: string, options: StoreOptions = {}): Promise<string> {
  const source = await RegistrySource.open(reference({ host }), { ...quick(), ...options });
  try {
    return (await source.resolve('one')).digest;
  } finally {
    await source.close();
  }
}

describe('hosts', () => {
  it.each(['localhost', 'LOCALHOST:5000', '127.0.0.1', '127.9.8.7:80', '[::1]:5000', '[::1]'])(
    '%s is loopback',
    (host) => {
      expect(isLoopback(host)).toBe(true);
    },
  );
  it.each([
    '127.0.0.1.nip.test',
    'localhost.test:80',
    '10.0.0.1',
    '[::2]:80',
    '128.0.0.1',
    '127.1',
    'docker.io',
  ])('%s is not', (host) => {
    expect(isLoopback(host)).toBe(false);
  });
  it('Docker Hub has another one for the API', () => {
    expect(apiHost('docker.io')).toBe('registry-1.docker.io');
    expect(apiHost('quay.io')).toBe('quay.io');
  });
});

describe('plain HTTP', () => {
  it('is spoken on loopback, whatever a proxy there may be for others', async () => {
    vi.stubEnv('HTTP_PROXY', 'http://127.0.0.1:1');
    vi.stubEnv('HTTPS_PROXY', 'http://127.0.0.1:1');
    expect(await resolve(registry.host)).toBe(descriptor.digest);
    expect(await resolve(`localhost:${registry.port}`)).toBe(descriptor.digest);
    expect(registry.takeCalls()).toEqual(['GET team/app/manifests/one', 'GET team/app/manifests/one']);
  });

  it('is spoken to other machines only when that is asked for', async () => {
    const proxy = await startProxy();
    const host = 'registry.test:5000';
    expect(await resolve(host, { insecureHttp: true })).toBe(descriptor.digest);
    expect(proxy.seen).toEqual([
      'CONNECT registry.test:5000',
      'GET http://registry.test:5000/v2/team/app/manifests/one',
    ]);
    proxy.seen.length = 0;
    await expect(resolve(host)).rejects.toThrow(refusal('IO'));
    expect(proxy.seen.every((line) => line.startsWith('CONNECT'))).toBe(true);
    await expect(resolve('docker.io', { insecureHttp: true })).rejects.toThrow(refusal('IO'));
    expect(proxy.seen.every((line) => line.startsWith('CONNECT'))).toBe(true);
  });

  /** A proxy that leads every name to the test's registry. */
  async function startProxy() {
    const seen: string[] = [];
    const server = createServer((incoming, outgoing) => {
      seen.push(`${incoming.method ?? ''} ${incoming.url ?? ''}`);
      const { pathname } = new URL(incoming.url ?? '');
      const onward = httpRequest({
        host: '127.0.0.1',
        port: registry.port,
        path: pathname,
        method: incoming.method,
      });
      onward.on('response', (response) => {
        outgoing.writeHead(response.statusCode ?? 0, response.headers);
        response.pipe(outgoing);
      });
      onward.end();
    });
    server.on('connect', ({ url = '' }, socket) => {
      seen.push(`CONNECT ${url}`);
      const onward = connect(registry.port, '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        socket.pipe(onward).pipe(socket);
      });
      for (const end of [socket, onward]) end.on('error', () => onward.destroy());
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    closing.push({
      stop: async () => {
        server.closeAllConnections();
      },
    });
    closeLater(server);
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    vi.stubEnv('HTTP_PROXY', url);
    vi.stubEnv('HTTPS_PROXY', url);
    return { seen };
  }

  it('is found out also when a server ends what it does not understand', async () => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', (data) => {
        if (data[0] === 0x16) {
          socket.destroy(); // the first byte of TLS
          return;
        }
        const onward = connect(registry.port, '127.0.0.1');
        onward.write(data);
        socket.pipe(onward).pipe(socket);
      });
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    closeLater(server);
    expect(await resolve(`127.0.0.1:${(server.address() as AddressInfo).port}`)).toBe(descriptor.digest);
  });
});

it('many requests at once are no leak: each stops listening for an abort when it has its answer', async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on('warning', onWarning);
  const client = await RegistryClient.open(reference(), 'pull', { ...quick(), concurrency: 2 });
  const { signal } = client as unknown as { signal: AbortSignal };
  let [asked, mostListeners] = [0, 0];
  registry.misbehave = () => {
    asked++;
    mostListeners = Math.max(mostListeners, getEventListeners(signal, 'abort').length);
    return false;
  };
  const ask = async (): Promise<void> => {
    const response = await client.send(client.url('manifests/one'), { method: 'GET' });
    await response.discard();
  };
  try {
    await Promise.all(Array.from({ length: 20 }, ask));
    expect(asked).toBe(20);
    expect(mostListeners).toBeGreaterThan(10); // that many at once are what Node takes for a leak
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    expect(warnings).toEqual([]);
  } finally {
    process.off('warning', onWarning);
    await client.close();
  }
});

describe('a registry that is away when it is asked for the first time', () => {
  it.each([
    ['plain HTTP', false],
    ['TLS', true],
  ])(
    'is asked again, with a word, until it is there, and then in its own protocol: %s',
    async (_, secure) => {
      const authority = new Authority(home);
      const tls = secure ? authority.issue('server') : null;
      const before = await FakeRegistry.start(tls);
      const { host, port } = before;
      await before.stop();
      const certDir = join(home, 'certs');
      await mkdir(certDir);
      await writeFile(join(certDir, 'ca.crt'), authority.own.cert);
      const warnings: string[] = [];
      const started: Promise<FakeRegistry>[] = [];
      const onWarning = (line: string): void => {
        warnings.push(line);
        started.push(FakeRegistry.start(tls, port));
        void started[0]!.then((back) => {
          put(back);
          closing.push({ stop: () => back.stop() });
        });
      };
      const options = { certDir, onWarning, retryTime: 100, retry: { firstPause: 1, maxPause: 50 } };
      expect(await resolve(host, options)).toBe(descriptor.digest);
      expect(warnings).toEqual([
        expect.stringMatching(
          /^docker:\/\/127.0.0.1:\d+\/team\/app does not answer: .*ECONNREFUSED.*; it is asked again, for 100 s at most \(--retry-time\)$/,
        ),
      ]);
      const back = await started[0]!;
      expect(back.takeCalls().filter((call) => call !== 'GET ')).toEqual(['GET team/app/manifests/one']);
    },
  );

  it('is not taken for one of plain HTTP', async () => {
    const before = await FakeRegistry.start();
    const { host } = before;
    await before.stop();
    const error = await caught(() => resolve(host, { retry: { attempts: 2, firstPause: 1 } }));
    expect([error.code, error.why]).toEqual(['IO', expect.stringContaining('ECONNREFUSED')]);
    await expect(resolve(host, { retryTime: 0 })).rejects.toThrow(refusal('IO'));
  });
});

describe('TLS', () => {
  let authority: Authority;
  let secure: FakeRegistry;
  beforeEach(async () => {
    authority = new Authority(home);
    secure = await FakeRegistry.start(authority.issue('server'));
    put(secure);
    closing.push({ stop: () => secure.stop() });
  });

  async function certificates(folder: string, files: Record<string, string>): Promise<string> {
    const path = join(home, folder);
    await mkdir(path, { recursive: true });
    for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text);
    return path;
  }

  it('is refused when nobody vouches for the server, with the flag that helps, and never falls back', async () => {
    for (const options of [{}, { insecureHttp: true }]) {
      const error = await caught(() => resolve(secure.host, options));
      expect(error).toMatchObject({ code: 'IO' });
      expect(error.hint).toContain('--cert-dir DIR');
    }
    // What asks for TLS has no business with manifests.
    expect(secure.takeCalls().filter((call) => call !== 'GET ')).toEqual([]);
  });

  it('trusts what is in --cert-dir, and in the places of Docker and Podman', async () => {
    const certDir = await certificates('certs', { 'ca.crt': authority.own.cert, 'other.txt': 'nothing' });
    expect(await resolve(secure.host, { certDir })).toBe(descriptor.digest);
    await certificates(`.config/containers/certs.d/${secure.host}`, { 'ca.crt': authority.own.cert });
    expect(await resolve(secure.host)).toBe(descriptor.digest);
    await expect(resolve(secure.host, { certDir: await certificates('empty', {}) })).rejects.toThrow(
      refusal('IO'),
    );
  });

  it('trusts what the system trusts, and NODE_EXTRA_CA_CERTS', async () => {
    for (const name of ['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS']) {
      vi.stubEnv(name, authority.own.certFile);
      expect(await resolve(secure.host)).toBe(descriptor.digest);
      vi.stubEnv(name, undefined);
    }
  });

  it('shows a certificate of its own where there is one', async () => {
    const { cert, key } = authority.issue('mutual');
    const server = createTlsServer(
      { cert, key, ca: authority.own.cert, requestCert: true, rejectUnauthorized: true },
      (_request, response) => response.writeHead(200, { 'content-type': types.manifest }).end(bytes),
    );
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    closing.push({
      stop: async () => {
        server.closeAllConnections();
      },
    });
    closeLater(server);
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const client = authority.issue('client');
    const certDir = await certificates('certs', { 'ca.crt': authority.own.cert });
    await expect(resolve(host, { certDir })).rejects.toThrow(refusal('IO'));
    await certificates('certs', { 'client.cert': client.cert, 'client.key': client.key });
    expect(await resolve(host, { certDir })).toBe(descriptor.digest);
  });

  it.each([
    ['not there', null, 'NOT_FOUND', 'certs'],
    [
      'nonsense',
      { 'ca.crt': '-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n' },
      'USAGE',
      "can't be used",
    ],
    ['without a key', { 'client.cert': 'x' }, 'USAGE', 'its key is missing'],
  ] as const)('certificates that are %s are named', async (_name, files, code, text) => {
    if (files !== null) await certificates('certs', files);
    await expect(resolve(secure.host, { certDir: join(home, 'certs') })).rejects.toThrow(refusal(code, text));
  });

  it('is not left for plain HTTP by a redirect, nor by the place of an upload', async () => {
    const certDir = await certificates('certs', { 'ca.crt': authority.own.cert });
    secure.misbehave = ({ path }, response) => {
      response.writeHead(307, { location: `http://${registry.host}/v2/${path}` }).end();
      return true;
    };
    await expect(resolve(secure.host, { certDir })).rejects.toThrow(refusal('IO', 'not encrypted'));
    const { RegistryDestination } = await import('../../../src/store/registry/destination.js');
    secure.misbehave = ({ method }, response) => {
      if (method !== 'POST') return false;
      response.writeHead(202, { location: `http://${registry.host}/v2/up/1` }).end();
      return true;
    };
    const store = await RegistryDestination.open(reference({ host: secure.host }), { ...quick(), certDir });
    const config = Buffer.from('{}');
    const pushed = store.writeBlob(
      {
        mediaType: types.config,
        digest: digestOf(config),
        size: 2,
      },
      config,
    );
    await expect(pushed).rejects.toThrow(refusal('IO', 'not encrypted'));
    await store.abort();
    expect(registry.takeCalls()).toEqual([]);
  });
});

it('openSource() takes the digest where there are both, and the options', async () => {
  const { store, reference: name } = await openSource(
    `docker://${registry.host}/team/app:two@${descriptor.digest}`,
    quick(),
  );
  expect(name).toBe(descriptor.digest);
  expect(await store.resolve(name)).toEqual(descriptor);
  await store.close();
});
