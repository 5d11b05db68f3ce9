import { expect, test } from 'vitest';
import { isOwnHost, MirrorError, parseRequest, parseUpstream } from '../../../src/lazy/mirror/request';
import { caught } from '../../support/caught';

const upstreams = ['docker.io', 'registry.example:5000'];
const digest = `sha256:${'a'.repeat(64)}`;
const parse = (url: string, method = 'GET') => parseRequest(method, url, upstreams);

test('a request is what the distribution specification has', () => {
  expect(parse('/v2/')).toBeNull();
  expect(parse('/v2/library/busybox/manifests/1.36?ns=docker.io')).toEqual({
    method: 'GET',
    host: 'docker.io',
    repository: 'library/busybox',
    kind: 'manifests',
    reference: '1.36',
    query: '',
  });
  const blob = parse(`/v2/a/b/blobs/${digest.replace(':', '%3A')}?ns=registry.example:5000&x=y`, 'HEAD');
  expect([blob?.host, blob?.reference, blob?.query, blob?.method]).toEqual([
    upstreams[1],
    digest,
    '',
    'HEAD',
  ]);
  expect(parse('/v2/a/tags/list?n=5&last=v1&ns=docker.io&x=%0d')?.query).toBe('?n=5&last=v1');
  expect(parse(`/v2/a/referrers/${digest}?ns=docker.io&artifactType=a/b%0d%0ac`)?.query).toBe(
    '?artifactType=a%2Fb%0D%0Ac',
  );
  // A repository may be called so.
  expect(parse('/v2/blobs/manifests/manifests/latest?ns=docker.io')?.repository).toBe('blobs/manifests');
});

test.each([
  ['POST', '/v2/a/manifests/x?ns=docker.io', 405],
  ['PUT', '/v2/a/manifests/x?ns=docker.io', 405],
  ['DELETE', '/v2/a/manifests/x?ns=docker.io', 405],
  ['CONNECT', 'docker.io:443', 405],
  ['GET', 'http://elsewhere.example/v2/a/manifests/x?ns=docker.io', 404],
  ['GET', '/v2/a/manifests/x', 404],
  ['GET', '/v2/a/manifests/x?ns=', 404],
  ['GET', '/v2/a/manifests/x?ns=169.254.169.254', 404],
  ['GET', '/v2/a/manifests/x?ns=docker.io.evil.example', 404],
  ['GET', '/v2/a/manifests/x?ns=docker.io/../evil', 404],
  ['GET', '/v2/a/manifests/x?ns=user:password@docker.io', 404],
  ['GET', '/v2/a/manifests/x?ns=docker.io%0d%0aHost:%20evil', 404],
  ['GET', '/v2/a/manifests/x?ns=docker.io&ns=docker.io', 400],
  ['GET', '/v2/a/manifests/x\r\nHost: evil?ns=docker.io', 400],
  ['GET', '/v2/a/manifests/..?ns=docker.io', 400],
  ['GET', '/v2/a/manifests/%2e%2e%2fx?ns=docker.io', 400],
  ['GET', '/v2/../a/manifests/x?ns=docker.io', 400],
  ['GET', '/v2/a\\b/manifests/x?ns=docker.io', 400],
  ['GET', '/v2/A/manifests/x?ns=docker.io', 400],
  ['GET', '/v2//manifests/x?ns=docker.io', 404],
  ['GET', `/v2/${'a'.repeat(300)}/manifests/x?ns=docker.io`, 400],
  ['GET', '/v2/a/blobs/latest?ns=docker.io', 400],
  ['GET', '/v2/a/tags/other?ns=docker.io', 400],
  ['GET', '/v2/a/blobs/uploads/?ns=docker.io', 404],
  ['GET', '/v2/_catalog?ns=docker.io', 404],
  ['GET', '/?ns=docker.io', 404],
  ['GET', `/v2/a/manifests/x?ns=docker.io&${'x'.repeat(9000)}`, 414],
])('%s %s is refused', (method, url, status) => {
  const refusal = (): number => {
    try {
      parse(url, method);
    } catch (error) {
      if (error instanceof MirrorError) return error.status;
      throw error;
    }
    return 200;
  };
  expect(refusal()).toBe(status);
});

test('with one upstream it need not be named', () => {
  expect(parseRequest('GET', '/v2/a/manifests/x', ['docker.io'])?.host).toBe('docker.io');
});

test('what a page in a browser sends here names another host', () => {
  for (const host of ['127.0.0.1:5050', '[::1]:5050', 'localhost', 'node.example:5050'])
    expect(isOwnHost(host, 'node.example')).toBe(true);
  for (const host of [undefined, '', 'evil.example', 'localhost.evil.example:80', '127.0.0.1.evil.example'])
    expect(isOwnHost(host, '127.0.0.1')).toBe(false);
});

test('an upstream is a host, perhaps with a port', async () => {
  expect(['docker.io', 'Registry.example:5000', '127.0.0.1:5000'].map(parseUpstream)).toEqual([
    'docker.io',
    'registry.example:5000',
    '127.0.0.1:5000',
  ]);
  for (const text of ['', 'a b', 'https://docker.io', 'docker.io/library', 'user@docker.io', 'a:b:c', 'name'])
    expect((await caught(() => parseUpstream(text))).code, text).toBe('USAGE');
});
