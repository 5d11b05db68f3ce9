import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { networkError } from '../../src/source/http-client';
import { rootOnly, titleOf } from '../conformance/support/machine';
import { runCli } from './run-cli';

// The claim: whoever tries the program without the rights, or with a name that is wrong, reads what is missing, and what to do.

const nobody = 65534;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'newcomer-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe.skipIf(rootOnly !== null)(titleOf('as a user who is not root', rootOnly), () => {
  test.each([
    [
      'mount oci:a /mnt',
      4,
      /mounting needs root \(run it as root, or read without mounting: ls, cat, extract\)/,
    ],
    ['umount /mnt', 4, /unmounting needs root \(run it as root\)/],
    ['run oci:a', 4, /a container needs root \(run it as root\)/],
    ['doctor --repair', 4, /needs root \(run it as root\)/],
    ['lazy ls', 1, /only root reaches one that root runs/],
  ])('%s', async (line, code, message) => {
    const { exitCode, stderr } = await runCli(line.split(' '), { uid: nobody });
    expect(stderr).toMatch(message);
    expect(exitCode).toBe(code);
  });

  test('serve, in a folder of root', async () => {
    const { exitCode, stderr } = await runCli(['serve', '--state', join(folder, 'state')], { uid: nobody });
    expect(stderr).toMatch(/permission denied \(the lazy server needs root\)/);
    expect(exitCode).toBe(4);
  });
});

test('a host that nobody knows is named, and asked for once', () => {
  const thrown = Object.assign(new Error('getaddrinfo ENOTFOUND registry.exmaple'), {
    code: 'ENOTFOUND',
    hostname: 'registry.exmaple',
  });
  const { message, hint, cause } = networkError('https://registry.exmaple/v2/', thrown);
  expect(message).toBe('https://registry.exmaple/v2/: the name registry.exmaple is not known');
  expect(hint).toMatch(/spelt right/);
  expect(cause).toBe(thrown);
});
