import { execFile } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { documentOf, runCli } from '../e2e/run-cli';
import { at } from '../e2e/workspace';
import { FakeRegistry } from '../support/fake-registry';
import { RangeServer } from '../support/range-server';
import { noiseLayer, processesOf, umount } from './support/lazily';
import { titleOf, whyNoMounts } from './support/machine';
import { state, useMounts, writeImage } from './support/mounting';

// What one server is allowed to read changes while it serves: passwords of credential helpers, signatures of an object storage. None of
// these is ever written down.

useMounts();

const exec = promisify(execFile);
const reason = whyNoMounts() ?? (existsSync('/dev/fuse') ? null : 'needs /dev/fuse');
const layer = noiseLayer('noise', 20, 400_000);

let registry: FakeRegistry;
let storage: RangeServer;
/** What registry and storage take now. */
let [password, signature] = ['', ''];

/** Everything that was secret at some time. */
const secrets: string[] = [];

function change(number: number): void {
  [password, signature] = [`password-${number}-of-the-helper`, `signature-${number}-of-the-storage`];
  registry.auth = { kind: 'basic', pair: `alice:${password}` };
  writeFileSync(at('password'), password, { mode: 0o600 });
  secrets.push(password, signature, Buffer.from(`alice:${password}`).toString('base64'));
}

beforeEach(async () => {
  if (reason !== null) return;
  registry = await FakeRegistry.start();
  storage = await RangeServer.start(Buffer.alloc(0));
});
afterEach(async () => {
  if (reason !== null) return;
  for (const program of ['keeper-main', 'server-main'])
    for (const pid of processesOf(program)) process.kill(pid, 'SIGKILL');
  await registry.stop();
  await storage.stop();
});

/** Pushes the image, then has the registry want a password, and lead to a storage for its layer. */
async function prepare(): Promise<{ reference: string; env: Record<string, string> }> {
  await writeImage('local', [layer]);
  const reference = `docker://${registry.host}/app:one`;
  await documentOf(['convert', `oci:${at('local.tars')}:image`, reference, '--chunk-size', '64KiB']);
  const [path, blob] = [...registry.blobs].sort(([, a], [, b]) => b.length - a.length)[0]!;
  storage.bytes = blob;
  registry.misbehave = ({ path: asked, headers }, response) => {
    if (!asked.endsWith(`/blobs/${path.split(' ')[1]}`)) return false;
    if (headers.authorization !== `Basic ${Buffer.from(`alice:${password}`).toString('base64')}`)
      return false;
    response.writeHead(307, { location: `${storage.url}?signature=${signature}` }).end();
    return true;
  };
  storage.misbehave = ({ url }, response) => {
    if (url.endsWith(`?signature=${signature}`)) return false;
    response.writeHead(403).end('expired');
    return true;
  };
  await mkdir(at('bin'));
  const helper = join(at('bin'), 'docker-credential-changing');
  const answer = `printf '{"Username":"alice","Secret":"%s"}' "$(cat ${at('password')})"`;
  writeFileSync(helper, `#!/bin/sh\ncat > /dev/null\necho >> ${at('asked')}\n${answer}\n`);
  chmodSync(helper, 0o755);
  writeFileSync(at('auth.json'), JSON.stringify({ credHelpers: { [registry.host]: 'changing' } }));
  change(1);
  return { reference, env: { PATH: `${at('bin')}:${process.env['PATH']}` } };
}

/** Compares the beginning of a file: what is read ahead of so little does not reach the next file but one. */
async function read(file: number): Promise<void> {
  const { stdout } = await exec('head', ['-c', '4096', join(at('target'), 'noise', `${file}`)]);
  expect(stdout).toBe(layer[file + 2]!.content!.slice(0, 4096));
}

/** Where a secret is found: in files of the state folder, in what the system shows of the server's processes. */
function leaks(): string[] {
  const files = readdirSync(state, { recursive: true, encoding: 'utf8' })
    .map((name) => join(state, name))
    .filter((path) => !path.includes('/layers/') && statSync(path).isFile());
  const pids = [...processesOf('keeper-main'), ...processesOf('server-main')];
  expect(pids).toHaveLength(2);
  const shown = pids.flatMap((pid) => [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`]);
  return [...files, ...shown].filter((path) => {
    const bytes = readFileSync(path);
    return secrets.some((secret) => bytes.includes(secret));
  });
}

describe.skipIf(reason !== null)(titleOf('credentials of a lazy server', reason), () => {
  test('helpers are asked again, redirects followed anew, and nothing secret is kept', async () => {
    const { reference, env } = await prepare();
    const flags = ['--lazy', '--background', 'off', '--verity', 'off', '--state', state];
    const { exitCode, stderr } = await runCli(
      ['mount', reference, at('target'), ...flags, '--authfile', at('auth.json')],
      { env },
    );
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    await read(0);
    expect(leaks()).toEqual([]);
    const asked = () => readFileSync(at('asked')).length;
    for (const [number, file] of [
      [2, 8],
      [3, 16],
    ] as const) {
      const before = asked();
      change(number);
      await read(file);
      expect(asked()).toBe(before + 1);
    }
    // The storage is asked without the registry as long as it takes the address.
    registry.takeCalls();
    const before = storage.requests.length;
    await read(12);
    expect(registry.takeCalls()).toEqual([]);
    expect(storage.requests.length).toBeGreaterThan(before);
    expect(leaks()).toEqual([]);
    expect(storage.requests.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
    await umount();
  });

  test('the file that REGISTRY_AUTH_FILE names is handed to the server', async () => {
    const { reference, env } = await prepare();
    const flags = ['--lazy', '--background', 'off', '--verity', 'off', '--state', state];
    const named = { ...env, REGISTRY_AUTH_FILE: at('auth.json') };
    expect((await runCli(['mount', reference, at('target'), ...flags], { env: named })).exitCode).toBe(0);
    await read(3);
    const list = JSON.parse(await readFile(join(state, 'lazy/layers.json'), 'utf8')) as {
      layers: { access: { authFile: string } }[];
    };
    expect(list.layers[0]!.access.authFile).toBe(at('auth.json'));
    await umount();
  });
});
