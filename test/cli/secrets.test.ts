import { writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { run } from '../../src/cli/program';
import { makeTar, writeLayout } from '../e2e/sample';
import { RangeServer } from '../support/range-server';
import { goldenBlob } from '../support/sealed-blob';
import { Capture } from './capture';

const secrets = ['bob-user', 'hunter2', 's3cr3t'];
const userinfo = 'bob-user:hunter2@';
const query = '?token=s3cr3t#s3cr3t';
const golden = goldenBlob('mib.c65536.v4096');

let root: string;
let server: RangeServer;
let descriptor: string;
let badDescriptor: string;
let tar: string;
let layout: string;
const cwd = process.cwd();

beforeAll(async () => {
  vi.stubEnv('SEEKABLE_EROFS_DEBUG', '1'); // stacks and causes as well
  root = await mkdtemp(join(tmpdir(), 'secrets-'));
  server = await RangeServer.start(golden.blob);
  const put = async (name: string, content: string | Buffer): Promise<string> => {
    await writeFile(join(root, name), content);
    return join(root, name);
  };
  const right = { mediaType: 'application/vnd.erofs.layer.v1.erofs+zstd', ...golden.descriptor };
  descriptor = await put('descriptor.json', JSON.stringify(right));
  const wrong = { ...right, digest: `sha256:${'0'.repeat(64)}`, annotations: {} };
  badDescriptor = await put('bad.json', JSON.stringify(wrong));
  const bytes = await makeTar([{ name: 'file', content: 'content' }]);
  tar = await put('layer.tar', bytes);
  layout = `oci:${join(root, 'src')}`;
  await writeLayout(join(root, 'src'), [bytes]);
  await mkdir(join(root, 'mnt'));
  process.chdir(root); // some of the references are taken for names of folders, which are made
});
afterAll(async () => {
  process.chdir(cwd);
  vi.unstubAllEnvs();
  await server.stop();
  await rm(root, { recursive: true });
});
afterEach(() => {
  server.misbehave = () => false;
});

/** What people put their secrets into: what works, what is not there, and what is no reference at all. */
const references: Record<string, () => string> = {
  'a URL that works': () => `http://${userinfo}127.0.0.1:${server.port}/blob${query}`,
  'a URL of a host that is none': () => `https://${userinfo}host.invalid:1/blob${query}`,
  'a URL that is none': () => `https://${userinfo}127.0.0.1:99999/blob${query}`,
  'a URL with a slash in its password': () => 'https://bob-user:hunter2/s3cr3t@127.0.0.1/blob',
  'a URL with a space in its password': () => 'https://bob-user:hunter2 s3cr3t@127.0.0.1:99999/blob',
  'a registry with a user': () => `docker://${userinfo}127.0.0.1:1/repo:v1`,
  'a registry with a user, and no repository': () => `docker://${userinfo}127.0.0.1`,
  'a registry with an odd password': () => 'docker://bob-user:hunter2!s3cr3t@127.0.0.1:1/repo',
  'a registry with a query': () => `docker://127.0.0.1:1/repo:v1${query}`,
  'a registry without slashes': () => `docker:${userinfo}127.0.0.1:1/repo:v1${query}`,
  'an unknown transport': () => `htps://${userinfo}127.0.0.1/blob${query}`,
  'a layout in a URL': () => `oci:https://${userinfo}127.0.0.1/blob${query}`,
};

/** Every command, with the reference in every place, and in the flags that name files. */
const uses = (ref: string): string[][] => {
  const out = join(root, 'out');
  const single = [
    ['build', ref, out],
    ['encode', ref, out],
    ['decode', ref, out],
    ['inspect', ref],
    ['verify', ref],
    ['ls', ref],
    ['cat', ref, '/nothing'],
    ['extract', ref, join(root, 'tree'), '--force'],
    ['mount', ref, join(root, 'mnt'), '--state', join(root, 'state')],
    ['run', ref, '--state', join(root, 'state'), '--', '/bin/true'],
  ];
  const described = ['decode', 'inspect', 'verify', 'ls', 'cat', 'extract'];
  return [
    ...single,
    ...single
      .filter(([name]) => described.includes(name!))
      .map((args) => [...args, '--descriptor', descriptor]),
    ...single.map((args) => [...args.slice(0, 2), '--descriptor', badDescriptor, ...args.slice(2)]),
    ['convert', ref, `oci:${out}:x`],
    ['convert', layout, ref],
    ['convert', layout, `oci:${out}:x`, '--cache', ref],
    ['convert', layout, `oci:${out}:x`, '--authfile', ref, '--cert-dir', ref, '--tmp-dir', ref],
    ['convert', layout, `oci:${out}:x`, '--chunk-size', ref],
    ['convert', layout, `oci:${out}:x`, '--platform', ref],
    ['convert', layout, `oci:${out}:x`, `--odd=${ref}`],
    ['convert', layout, `oci:${out}:x`, ref],
    ['check', ref, layout],
    ['check', layout, ref],
    ['check', tar, ref],
    ['batch', ref],
    ['batch', batchOf(ref)],
    ['inspect', tar, '--descriptor', ref],
    ['ls', tar, '--device', ref],
    ['extract', tar, ref],
    ['mount', tar, ref, '--state', ref],
    ['mounts', '--state', ref],
    ['doctor', ref],
    [ref],
    ['help', ref],
  ];
};

function batchOf(ref: string): string {
  const text = JSON.stringify([{ source: ref, destination: `oci:${join(root, 'out')}:x` }]);
  const file = join(root, 'list.json');
  writeFileSync(file, text);
  return file;
}

async function printed(args: string[]): Promise<string> {
  const [stdout, stderr] = [new Capture(), new Capture()];
  await run(args, { stdout, stderr });
  return stdout.text + stderr.text;
}

describe.each(Object.keys(references))('%s', (name) => {
  test.each([[[]], [['--json']], [['--progress', 'json']]])(
    'tells nobody its secrets (%s)',
    async (flags) => {
      let something = 0;
      for (const args of uses(references[name]!())) {
        const end = args.indexOf('--');
        const text = await printed(
          end < 0 ? [...args, ...flags] : [...args.slice(0, end), ...flags, ...args.slice(end)],
        );
        for (const secret of secrets) expect(text, args.join(' ')).not.toContain(secret);
        if (text !== '') something++;
      }
      expect(something).toBeGreaterThan(30);
    },
  );
});

test('a URL that answers 404 or breaks off tells nobody its secrets', async () => {
  const ref = references['a URL that works']!();
  for (const status of [403, 404, 418]) {
    server.misbehave = (_request, response) => {
      response.writeHead(status, { location: `https://${userinfo}127.0.0.1/${query}` }).end('hunter2');
      return true;
    };
    for (const command of ['inspect', 'verify', 'ls', 'decode']) {
      const args = command === 'decode' ? [command, ref, join(root, 'out')] : [command, ref];
      const text = await printed([...args, '--descriptor', descriptor, '--json']);
      expect(text).toContain(`http://127.0.0.1:${server.port}/blob?…`);
      for (const secret of secrets) expect(text).not.toContain(secret);
    }
  }
});
