import { status } from '@grpc/grpc-js';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { listenForDoor } from '../../src/containerd/door-socket';
import { openGrpc, StatusError } from '../../src/containerd/grpc-server';
import { failure } from '../../src/errors';
import { connectService } from './grpc-client';

let folder: string;
let socket: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'grpc-'));
  socket = join(folder, 'socket');
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

test('calls are answered, errors have their status, and the socket is for its user alone', async () => {
  const server = openGrpc('snapshots', {
    Usage: () => Promise.resolve({ size: 2 ** 40, inodes: 3 }),
    Remove: () => Promise.reject(failure('MISMATCH', 'layer', 'it is another')),
    Stat: () => Promise.reject(new StatusError('NOT_FOUND', 'no such snapshot')),
    List: () =>
      Promise.resolve({ info: [{ name: 'a', kind: 'COMMITTED', created_at: { seconds: 5, nanos: 6 } }] }),
  });
  const listener = await listenForDoor(socket, (connection) => {
    server.accept(connection.resume()); // as one that another process gets is
  });
  expect(statSync(socket).mode & 0o777).toBe(0o600);
  const client = connectService(socket, 'snapshots');
  expect(await client.call('Usage', { key: 'a' })).toMatchObject({ size: 2 ** 40, inodes: 3 });
  await expect(client.call('Remove', {})).rejects.toMatchObject({ code: status.DATA_LOSS });
  await expect(client.call('Stat', {})).rejects.toMatchObject({ code: status.NOT_FOUND });
  await expect(client.call('Commit', {})).rejects.toMatchObject({ code: status.UNIMPLEMENTED });
  const [{ info } = { info: [] }] = await client.list('List', {});
  expect(info).toMatchObject([{ name: 'a', kind: 'COMMITTED', created_at: { seconds: 5, nanos: 6 } }]);
  client.close();
  listener.close();
  await server.close();
});

test('a call that is answered by a stream has an error of its own, too', async () => {
  const server = openGrpc('snapshots', {
    List: () => Promise.reject(failure('USAGE', 'filter', 'it is none')),
  });
  const listener = await listenForDoor(socket, (connection) => {
    server.accept(connection.resume());
  });
  const client = connectService(socket, 'snapshots');
  await expect(client.list('List', {})).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  client.close();
  listener.close();
  await server.close();
});

test('a call that nobody waits for any more is told so', async () => {
  let told: (reason: string) => void = () => undefined;
  const reason = new Promise<string>((resolve) => (told = resolve));
  const apply = (_: never, signal: AbortSignal) =>
    new Promise<never>((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        told('aborted');
        reject(failure('CANCELLED', 'layer', 'it was cancelled'));
      });
    });
  const server = openGrpc('diff', { Apply: apply });
  const listener = await listenForDoor(socket, (connection) => {
    server.accept(connection.resume());
  });
  const client = connectService(socket, 'diff');
  await expect(client.call('Apply', {}, { deadline: Date.now() + 200 })).rejects.toMatchObject({
    code: status.DEADLINE_EXCEEDED,
  });
  expect(await reason).toBe('aborted');
  client.close();
  listener.close();
  await server.close();
});

test('a socket that nobody listens on is replaced', async () => {
  writeFileSync(socket, '');
  const listener = await listenForDoor(socket, () => undefined);
  listener.close();
});

test('a socket that somebody listens on is refused', { timeout: 20_000 }, async () => {
  const other = createServer().listen(socket);
  await expect(listenForDoor(socket, () => undefined)).rejects.toMatchObject({ code: 'FAILED' });
  other.close();
});
