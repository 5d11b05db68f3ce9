import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { answerCalls, LazyConnection, protocolVersion } from '../../src/lazy/messages';
import { readLayers } from '../../src/lazy/layer-list';
import { at, useFolders } from '../e2e/workspace';
import { refusal } from '../support/refusal';

// A server outlives an upgrade, and a new one goes on with what it has left.

useFolders();

test('the list of layers in use: of a newer server it is refused, from before it had versions it is read', async () => {
  const path = at('layers.json');
  const layers = [{ key: 'a' }];
  await writeFile(path, JSON.stringify({ version: 99, layers }));
  await expect(readLayers(path)).rejects.toThrow(refusal('UNSUPPORTED', path));
  await expect(readLayers(path)).rejects.toThrow(refusal('UNSUPPORTED', 'version 99'));
  for (const list of [{ version: 1, layers }, { layers }]) {
    await writeFile(path, JSON.stringify(list));
    expect(await readLayers(path)).toEqual(layers);
  }
});

/** A server that answers to `status`; resolves with a connection to it. */
async function connected(): Promise<{ socket: Socket; end: () => void }> {
  const status = { pid: 1, version: '1', layers: [] };
  const refuse = () => Promise.reject(new Error('not asked'));
  const server = createServer((socket) => {
    answerCalls(socket, { add: refuse, release: refuse, status: () => Promise.resolve(status) });
  }).listen(at('socket'));
  await once(server, 'listening');
  const socket = connect(at('socket'));
  const end = () => {
    socket.destroy();
    server.close();
  };
  return { socket, end };
}

test('calls of this version are answered, those of another program refused with both versions', async () => {
  const { socket, end } = await connected();
  expect(await new LazyConnection(socket).call('status', {})).toMatchObject({ pid: 1 });
  const lines = createInterface({ input: socket });
  for (const protocol of [protocolVersion + 1, undefined]) {
    socket.write(`${JSON.stringify({ protocol, id: 7, call: 'status', request: {} })}\n`);
    const [line] = (await once(lines, 'line')) as [string];
    const { error } = JSON.parse(line) as { error: { code: string; why: string; hint: string } };
    expect(error).toMatchObject({
      code: 'UNSUPPORTED',
      hint: expect.stringContaining('server-main') as string,
    });
    expect(error.why).toContain(
      `version ${protocolVersion} of its protocol, this program version ${String(protocol)}`,
    );
  }
  end();
});
