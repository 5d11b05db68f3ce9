import { mkdtemp, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { answerCalls, LazyConnection } from '../../src/lazy/messages';
import { connectTo, listenOn } from '../../src/lazy/socket';

// The claim: a server that dies at any moment costs its clients a call that is repeated, nothing else.

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'connection-'));
  path = join(folder, 'socket');
});
afterEach(() => rm(folder, { recursive: true }));

const answer = { pid: 7, version: '1', layers: [] };
const listen = (onConnection: (socket: Socket) => void = () => undefined) =>
  listenOn(path, (socket) => {
    onConnection(socket);
    const none = () => Promise.reject(new Error('not asked for'));
    answerCalls(socket, { add: none, release: none, status: () => Promise.resolve(answer) });
  });

test('a server that dies as soon as it was reached is no error of its client’s', async () => {
  const server = await listen();
  const socket = (await connectTo(path))!;
  socket.destroy(new Error('read ECONNRESET'));
  await sleep(1); // whoever does not listen is told now
  expect(socket.closed).toBe(true);
  server.close();
});

test('nor is one whose connection breaks off, to either side', async () => {
  const accepted: Socket[] = [];
  const server = await listen((socket) => accepted.push(socket));
  const socket = (await connectTo(path))!;
  const connection = new LazyConnection(socket);
  await connection.call('status', {});
  for (const end of [socket, ...accepted]) end.destroy(new Error('read ECONNRESET'));
  await sleep(5);
  await expect(connection.call('status', {})).rejects.toMatchObject({ code: 'MACHINE' });
  server.close();
});

test('a call reaches the next server also when the one between died before it was asked', async () => {
  const server = await listen();
  const dead = async () => {
    const socket = (await connectTo(path))!;
    socket.destroy();
    await sleep(5); // its 'close' is over
    return socket;
  };
  const next = [await dead(), await connectTo(path)];
  const connection = new LazyConnection(await dead(), () => Promise.resolve(next.shift() ?? null));
  expect(await connection.call('status', {})).toEqual(answer);
  connection.close();
  server.close();
});
