import { expect, test } from 'vitest';
import { imageMeantBy, placesMeantBy } from '../src/image-name';
import { checkImage, pullTrace, verifyImage } from '../src/index';
import { openSource } from '../src/store/open';
import { refusal } from './support/refusal';

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

test('whatever takes an image says where one of that name may be', async () => {
  const places =
    'docker://docker.io/library/alpine:3 if it is in a registry, oci:alpine:3 if it is an image layout';
  expect(placesMeantBy('alpine:3')).toBe(places);
  expect(placesMeantBy('layer.tar')).toBeUndefined();
  for (const taken of [
    () => openSource('alpine:3'),
    () => checkImage('alpine:3', 'oci:a'),
    () => checkImage('oci:a', 'alpine:3'),
    () => pullTrace('alpine:3', 'file'),
  ]) {
    const thrown = await taken().catch((error: unknown) => error);
    expect(thrown).toMatchObject({ code: 'USAGE', what: 'alpine:3', hint: places });
  }
  await expect(verifyImage('alpine:3')).rejects.toEqual(refusal('NOT_FOUND', 'alpine:3'));
});
