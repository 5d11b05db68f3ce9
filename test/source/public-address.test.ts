import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createHttpClient } from '../../src/source/http-client';
import { isPrivateAddress } from '../../src/source/public-address';

test.each([
  '127.0.0.1',
  '10.1.2.3',
  '172.31.255.255',
  '192.168.0.1',
  '169.254.169.254',
  '100.64.0.1',
  '0.0.0.0',
  '224.0.0.1',
  '255.255.255.255',
  '::1',
  '::',
  '[::1]',
  'fe80::1',
  'fe80::1%eth0',
  'fd00::1',
  'ff02::1',
  '::ffff:10.0.0.1',
  '::ffff:127.0.0.1',
  '64:ff9b::a00:1',
])('%s is private', (address) => {
  expect(isPrivateAddress(address)).toBe(true);
});

test.each(['8.8.8.8', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '::ffff:8.8.8.8', 'localhost', ''])(
  '%s is not',
  (address) => {
    expect(isPrivateAddress(address)).toBe(false);
  },
);

let port: number;
let asked: string[];
const server = createServer((request, response) => {
  asked.push(request.url!);
  if (request.url === '/away') response.writeHead(302, { location: `http://localhost:${port}/there` });
  if (request.url === '/literal') response.writeHead(302, { location: `http://127.0.0.2:${port}/there` });
  response.end('here');
});
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  ({ port } = server.address() as AddressInfo);
});
afterAll(() => {
  server.close();
});

test.each(['/away', '/literal'])(
  'a redirect (%s) leads to no private address that was not named',
  async (path) => {
    asked = [];
    const get = async (privateHosts: string[]) => {
      const client = await createHttpClient({ privateHosts });
      try {
        const answer = await client.get(new URL(`http://127.0.0.1:${port}${path}`), {});
        await answer.discard();
        return answer.status;
      } finally {
        await client.close();
      }
    };
    await expect(get([`127.0.0.1:${port}`])).rejects.toThrow('private address');
    expect(asked).toEqual([path]);
    const named = [`127.0.0.1:${port}`, `localhost:${port}`, `127.0.0.2:${port}`];
    expect(await get(named)).toBe(200);
    await expect(get(['127.0.0.1'])).rejects.toThrow('private address'); // another port
  },
);
