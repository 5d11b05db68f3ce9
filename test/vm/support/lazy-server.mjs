// A lazy server in the VM, what it stores, and damage to that.
import { closeSync, existsSync, openSync, readSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { load } from './guest.mjs';

const { keepServer } = load('lazy/keeper.js');

/** Starts a server: a mount would not wait for one as long as this machine may take. */
export async function serve(state, options = {}) {
  const stop = new AbortController();
  let ended;
  await new Promise((onReady, fail) => {
    ended = keepServer({ state, background: 'off', ...options, signal: stop.signal, onReady });
    ended.catch(fail);
  });
  const end = () => {
    stop.abort();
    return ended;
  };
  return { ended, end };
}

/** Resolves when a layer was looked at as a whole: what is changed before is noticed then. */
export async function untilComplete(content) {
  const isThere = (key) => key !== 'lazy' && existsSync(join(content, key, 'image'));
  while (!readdirSync(content).some(isThere)) await sleep(200);
}

/** Changes a bit of a file. */
export function flip(path, offset) {
  const fd = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, offset);
  byte[0] ^= 0x10;
  writeSync(fd, byte, 0, 1, offset);
  closeSync(fd);
}
