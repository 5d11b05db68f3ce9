import { expect, test } from 'vitest';
import { optional, queuePackages } from '../../src/service/optional';
import { caught } from '../support/caught';

test('a package that is not installed is named, with what to do', async () => {
  const missing = Object.assign(new Error("Cannot find module 'bullmq'"), { code: 'MODULE_NOT_FOUND' });
  const error = await caught(() => optional(() => Promise.reject(missing), 'a queue', queuePackages));
  expect(error).toMatchObject({
    code: 'MACHINE',
    why: 'it needs bullmq and ioredis',
    hint: 'npm install bullmq ioredis',
  });
});

test('what is wrong with one that is installed is not hidden', async () => {
  const broken = new Error('broken');
  await expect(optional(() => Promise.reject(broken), 'a queue', queuePackages)).rejects.toBe(broken);
});
