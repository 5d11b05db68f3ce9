import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';

const addon = join(__dirname, '../../build/Release/seekable_erofs.node');

test('a worker thread ends although a read waits for bytes that it would have brought', async () => {
  const script = `
    const { Arrival } = require(${JSON.stringify(addon)});
    const { openSync } = require('node:fs');
    const { parentPort } = require('node:worker_threads');
    const arrival = new Arrival({ fd: openSync('/dev/zero'), size: 1000, name: 'blob' });
    const source = arrival.source();
    globalThis.kept = [arrival, source, source.read(0, 10)];
    setTimeout(() => parentPort.postMessage('waiting'), 100);`;
  const worker = new Worker(script, { eval: true });
  await new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject));
  expect(await worker.terminate()).toBe(1);
}, 20_000);
