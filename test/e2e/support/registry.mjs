// Debian's docker-registry for a test, on 127.0.0.1, over plain HTTP, open to all.
import { spawn } from 'node:child_process';
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Starts it with everything in `directory`; gives its `host:port`, the bytes of bodies that it has sent so far, and a function that ends it. */
export async function startRegistry(directory) {
  const file = join(directory, 'registry.json'); // JSON is YAML
  const storage = { filesystem: { rootdirectory: join(directory, 'registry') } };
  const http = { addr: '127.0.0.1:0', relativeurls: true };
  writeFileSync(file, JSON.stringify({ version: '0.1', storage, http }));
  // A file and no pipe: nobody would read that while a test waits for a program, and the registry would wait for the test.
  const log = join(directory, 'registry.log');
  const requests = join(directory, 'requests.log');
  const child = spawn('docker-registry', ['serve', file], {
    stdio: ['ignore', openSync(requests, 'w'), openSync(log, 'w')],
  });
  let host;
  while (host === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const text = readFileSync(log, 'utf8');
    host = /listening on (127\.0\.0\.1:\d+)/.exec(text)?.[1];
    if (child.exitCode !== null) throw new Error(`docker-registry ended with ${child.exitCode}: ${text}`);
  }
  /** Requests as the registry logs them: `… "GET /v2/… HTTP/1.1" 206 4096 …`. */
  const sent = () =>
    [...readFileSync(requests, 'utf8').matchAll(/"GET (\S+) [^"]*" (\d+) (\d+)/g)].map(
      ([, path, status, bytes]) => ({ path, status: Number(status), bytes: Number(bytes) }),
    );
  /** Changes a byte of a blob; gives what puts it right again. */
  const damage = (digest, offset) => {
    const hex = digest.slice('sha256:'.length);
    const path = join(directory, 'registry/docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data');
    const bytes = readFileSync(path);
    const flipped = Buffer.from(bytes);
    flipped[offset] ^= 1;
    writeFileSync(path, flipped);
    return () => writeFileSync(path, bytes);
  };
  return { host, sent, damage, stop: () => child.kill('SIGKILL') };
}
