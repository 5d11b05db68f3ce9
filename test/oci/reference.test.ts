import { describe, expect, it } from 'vitest';
import { checkReferenceName, parseReference } from '../../src/oci/reference';
import { caught } from '../support/caught';

const digest = `sha256:${'a'.repeat(64)}`;

function refused(text: string) {
  return caught(() => parseReference(text));
}

describe('registry references', () => {
  const cases: [string, object][] = [
    ['docker://ubuntu', { host: 'docker.io', repository: 'library/ubuntu', tag: 'latest' }],
    ['docker://ubuntu:24.04', { host: 'docker.io', repository: 'library/ubuntu', tag: '24.04' }],
    ['docker://me/app', { host: 'docker.io', repository: 'me/app', tag: 'latest' }],
    ['docker://index.docker.io/ubuntu', { host: 'docker.io', repository: 'library/ubuntu', tag: 'latest' }],
    ['docker://localhost/app', { host: 'localhost', repository: 'app', tag: 'latest' }],
    ['docker://localhost:5000/a/b:v1', { host: 'localhost:5000', repository: 'a/b', tag: 'v1' }],
    ['docker://[::1]:5000/app:v1', { host: '[::1]:5000', repository: 'app', tag: 'v1' }],
    [`docker://ghcr.io/a/b@${digest}`, { host: 'ghcr.io', repository: 'a/b', digest }],
    [`docker://ghcr.io/a/b:v1@${digest}`, { host: 'ghcr.io', repository: 'a/b', tag: 'v1', digest }],
  ];
  it.each(cases)('%s', (text, expected) => {
    expect(parseReference(text)).toEqual({ transport: 'docker', ...expected });
  });

  it.each([
    'docker:ubuntu',
    'docker://',
    'docker://Ubuntu',
    'docker://ghcr.io/',
    'docker://ghcr.io/a//b',
    'docker://ghcr.io/../a',
    'docker://ghcr.io:99999/a',
    'docker://-bad.io/a',
    'docker://ghcr.io/a:',
    'docker://ghcr.io/a:-x',
    'docker://ghcr.io/a@sha256:../../x',
    `docker://ghcr.io/${'a'.repeat(300)}`,
  ])('refuses %s', async (text) => {
    expect((await refused(text)).code).toBe('USAGE');
  });
});

describe('references to files', () => {
  const cases: [string, object][] = [
    ['oci:dir', { transport: 'oci', path: 'dir' }],
    ['oci:/a/b:v1', { transport: 'oci', path: '/a/b', reference: 'v1' }],
    ['oci:dir:example.com/app:v1', { transport: 'oci', path: 'dir', reference: 'example.com/app:v1' }],
    [`oci:dir:@${digest}`, { transport: 'oci', path: 'dir', reference: `@${digest}` }],
    ['oci-archive:-', { transport: 'oci-archive', path: '-' }],
    ['oci-archive:-:v1', { transport: 'oci-archive', path: '-', reference: 'v1' }],
    ['docker-archive:a.tar:x:y', { transport: 'docker-archive', path: 'a.tar', reference: 'x:y' }],
    ['erofs-cache:a:b', { transport: 'erofs-cache', path: 'a:b' }],
    ['https://host/a:b', { transport: 'http', url: 'https://host/a:b' }],
    ['layer.tar', { transport: 'file', path: 'layer.tar' }],
    ['./oci:dir', { transport: 'file', path: './oci:dir' }],
    ['/a:b', { transport: 'file', path: '/a:b' }],
    ['layer-2024-01-01T10:00.tar', { transport: 'file', path: 'layer-2024-01-01T10:00.tar' }],
    ['ubuntu:24.04', { transport: 'file', path: 'ubuntu:24.04' }],
  ];
  it.each(cases)('%s', (text, expected) => {
    expect(parseReference(text)).toEqual(expected);
  });

  it.each(['', 'oci:', 'oci::v1', 'oci:dir:', 'erofs-cache:', 'http:x', 'https://'])(
    'refuses "%s"',
    async (text) => {
      expect((await refused(text)).code).toBe('USAGE');
    },
  );

  it.each([
    ['ocl:dir', 'did you mean oci:?'],
    ['OCI:dir', 'did you mean oci:?'],
    ['oci-archiv:f.tar', 'did you mean oci-archive:?'],
    ['dcoker://ubuntu', 'did you mean docker://?'],
    ['htps://host/x', 'did you mean https://?'],
    ['docker-daemon:x', 'docker-archive:FILE'],
    ['dir:x', 'use oci:'],
    ['ftp://host/x', './ftp://host/x'],
  ])('%s is taken for a transport', async (text, hint) => {
    const error = await refused(text);
    expect(error.code).toBe('USAGE');
    expect(error.hint).toContain(hint);
  });
});

describe('names in a layout', () => {
  it.each(['v1', 'a/b:c', 'docker.io/library/ubuntu:24.04', 'a--b'])('%s is legal', (name) => {
    expect(() => {
      checkReferenceName(name);
    }).not.toThrow();
  });
  it.each(['', 'a b', '/a', 'a/', 'a..b', '-a', `@${digest}`, 'a\n', 'ä'])('"%s" is not', async (name) => {
    const error = await caught(() => {
      checkReferenceName(name);
    });
    expect(error.code).toBe('USAGE');
  });
});
