import { expect, test } from 'vitest';
import { imageMeantBy } from '../src/image-name';

test.each([
  ['alpine', 'docker://docker.io/library/alpine:latest'],
  ['alpine:3.20', 'docker://docker.io/library/alpine:3.20'],
  ['bitnami/redis', 'docker://docker.io/bitnami/redis:latest'],
  ['ghcr.io/a/b', 'docker://ghcr.io/a/b:latest'],
  ['localhost:5000/app:v1', 'docker://localhost:5000/app:v1'],
  [`alpine@sha256:${'a'.repeat(64)}`, `docker://docker.io/library/alpine@sha256:${'a'.repeat(64)}`],
])('%s may be meant as %s', (name, image) => {
  expect(imageMeantBy(name)).toBe(image);
});

test.each([
  'layer.tar',
  './alpine',
  '/alpine',
  'dir/layer.tar.gz',
  '-',
  '',
  'Alpine',
  'a b',
  'layer.tar:',
  '../app',
])('%j looks like a file', (name) => {
  expect(imageMeantBy(name)).toBeUndefined();
});
