// Debian's docker-registry for a test, on 127.0.0.1, over plain HTTP, open to all.
import { spawn } from 'node:child_process';
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Starts it with everything in `directory`; gives its `host:port` and a function that ends it. */
export async function startRegistry(directory) {
  const file = join(directory, 'registry.json'); // JSON is YAML
  const storage = { filesystem: { rootdirectory: join(directory, 'registry') } };
  const http = { addr: '127.0.0.1:0', relativeurls: true };
  writeFileSync(
    file,
    JSON.stringify({ version: '0.1', log: { accesslog: { disabled: true } }, storage, http }),
  );
  // A file and no pipe: nobody would read that while a test waits for a program, and the registry would wait for the test.
  const log = join(directory, 'registry.log');
  const child = spawn('docker-registry', ['serve', file], {
    stdio: ['ignore', 'ignore', openSync(log, 'w')],
  });
  let host;
  while (host === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const text = readFileSync(log, 'utf8');
    host = /listening on (127\.0\.0\.1:\d+)/.exec(text)?.[1];
    if (child.exitCode !== null) throw new Error(`docker-registry ended with ${child.exitCode}: ${text}`);
  }
  return { host, stop: () => child.kill('SIGKILL') };
}
