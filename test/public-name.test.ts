import { describe, expect, test } from 'vitest';
import { failure } from '../src/errors';
import { publicName, withoutSecrets } from '../src/public-name';

const digest = `sha256:${'a'.repeat(64)}`;

describe('publicName', () => {
  test.each([
    ['https://host:8443/a/b.blob', 'https://host:8443/a/b.blob'],
    ['https://user:secret@host/a?X-Signature=secret', 'https://host/a?…'],
    ['https://host/a#secret', 'https://host/a?…'],
    ['https://secret@[::1]:5000/a', 'https://[::1]:5000/a'],
    ['HTTPS://user:secret@host', 'HTTPS://host'],
    ['https://user:se@cret@host/a', 'https://host/a'],
    ['https://user:my secret@host/a?b c', 'https://host/a?…'],
    ['https://user:sec/ret@host/a', 'https://…'],
    ['https:/user:secret@host/a', 'https:/host/a'],
    ['https:user:secret@host/a', 'https:host/a'],
    ['https:\\\\user:secret@host\\a', 'https:\\\\host\\a'],
    ['https://host/@scope/a', 'https://host/@scope/a'],
    ['docker://user:secret@host/repo:v1', 'docker://host/repo:v1'],
    ['docker:user:secret@host/repo:v1', 'docker:host/repo:v1'],
    ['docker://host:5000/repo?token=secret', 'docker://host:5000/repo?…'],
    [`docker://host/repo:v1@${digest}`, `docker://host/repo:v1@${digest}`],
    [`docker://repo@${digest}`, `docker://repo@${digest}`],
    [`docker://user:secret@host/repo@${digest}`, `docker://host/repo@${digest}`],
    ['docker://repo:v1', 'docker://repo:v1'],
    ['s3://key:secret@bucket/a', 's3://bucket/a'],
    ['oci:dir/with@and?:v1', 'oci:dir/with@and?:v1'],
    ['oci:https://user:secret@host/a', 'oci:https://host/a'],
    ['./a@b?c', './a@b?c'],
    ['', ''],
  ])('of %s is %s', (reference, name) => {
    expect(publicName(reference)).toBe(name);
    expect(publicName(name)).toBe(name);
  });
});

test('withoutSecrets leaves all but the URLs', () => {
  const text = 'read of https://u:secret@host/a?b=secret from "http://host/b" to a@b? no: docker://host/r:v1';
  expect(withoutSecrets(text)).toBe(
    'read of https://host/a?… from "http://host/b" to a@b? no: docker://host/r:v1',
  );
});

test('an error has no secret of a URL in any of its parts', () => {
  const url = 'https://user:secret@host/a?token=secret';
  const error = failure('USAGE', url, `not like ${url}`, `try ${url}`);
  expect(error.what).toBe('https://host/a?…');
  for (const text of [error.why, error.hint, error.message, error.stack])
    expect(text).not.toContain('secret');
  expect(failure('IO', 'https://host/a?…, chunk table', 'x').what).toBe('https://host/a?…, chunk table');
});
