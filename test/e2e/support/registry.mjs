// Debian's docker-registry for a test, on 127.0.0.1, over plain HTTP, open to all.
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
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
  const child = spawn('docker-registry', ['serve', file], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  const host = await new Promise((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (text) => {
      log = (log + text).slice(-10_000);
      const address = /listening on (127\.0\.0\.1:\d+)/.exec(log)?.[1];
      if (address !== undefined) resolve(address);
    });
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`docker-registry ended with ${code}: ${log}`)));
  });
  return { host, stop: () => child.kill('SIGKILL') };
}
