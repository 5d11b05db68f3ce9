import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { run } from '../../src/cli/program';
import { Capture } from './capture';

async function runWith(args: string[], stdout = new Capture()) {
  const stderr = new Capture();
  const exitCode = await run(args, { stdout, stderr });
  return { exitCode, stdout: stdout.text, stderr: stderr.text };
}

const commands = ['convert', 'build', 'encode', 'decode', 'inspect', 'verify', 'doctor'];

test('--version prints the version of the package', async () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  expect(await runWith(['--version'])).toEqual({ exitCode: 0, stdout: `${version}\n`, stderr: '' });
});

describe('--help', () => {
  test('of the program lists the commands, after examples', async () => {
    const { exitCode, stdout, stderr } = await runWith(['--help']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
    expect(stdout.indexOf('Examples:')).toBe(0);
  });

  test('has what belongs together under one heading', async () => {
    const { stdout } = await runWith(['--help']);
    const groups = stdout.split(/^(?=\S.*:$)/m).map((text) => text.split('\n')[0]);
    expect(groups.slice(2, 5)).toEqual(['Convert:', 'Look, and check:', 'Read files, without mounting:']);
    const { stdout: ofConvert } = await runWith(['convert', '--help']);
    expect(ofConvert).toMatch(/^The blobs:\n {2}--profile/m);
  });

  test.each(commands)('of %s has examples first, and the flags that all share', async (command) => {
    const { exitCode, stdout, stderr } = await runWith([command, '--help']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout).toContain(`$ seekable-erofs ${command}`);
    expect(stdout.indexOf('Examples:')).toBeLessThan(stdout.indexOf('Usage:'));
    for (const flag of ['-h, --help', '--json', '--progress', '--quiet', '--threads', '--tmp-dir']) {
      expect(stdout).toMatch(new RegExp(`^  ${flag} `, 'm'));
    }
    expect((await runWith(['help', command])).stdout).toBe(stdout);
  });
});

const ofReferences = [
  'convert',
  'batch',
  'inspect',
  'verify',
  'check',
  'ls',
  'cat',
  'extract',
  'mount',
  'run',
];

test.each(ofReferences)(
  '%s takes references of images, so it says how registries are spoken to',
  async (command) => {
    const { stdout } = await runWith([command, '--help']);
    for (const flag of ['--authfile', '--cert-dir', '--insecure-http', '--concurrency']) {
      expect(stdout).toMatch(new RegExp(`^  ${flag} `, 'm'));
    }
  },
);

describe('wrong usage is exit 2 and one line', () => {
  test.each<[string, RegExp]>([
    ['convrt oci:a oci:b', /^error: seekable-erofs: unknown command 'convrt' \(did you mean convert\?\)\n$/],
    ['unpack oci:a dir', /unknown command 'unpack'/],
    ['help nothing', /unknown command 'nothing'/],
    ['--json', /unknown option '--json'/],
    ['convert', /missing required argument 'SRC'/],
    ['convert oci:a', /missing required argument 'DST'/],
    ['build layer.tar', /missing required argument 'IMAGE'/],
    ['encode layer.tar', /missing required argument 'BLOB'/],
    ['decode', /missing required argument 'BLOB'/],
    ['inspect', /missing required argument/],
    ['verify', /missing required argument/],
    ['doctor now', /too many arguments/],
    ['run', /missing required argument/],
    ['run oci:a --json', /stdout is the container's/],
    ['run oci:a ls -l', /unknown option '-l'/],
    ['encode a b c', /too many arguments/],
    ['encode a b --chunksize 1', /unknown option '--chunksize' \(did you mean --chunk-size\?\)/],
    ['encode a b --mkfs x', /^error: --mkfs: "x" is no option/],
    ['encode a b --threads 0', /'--threads <n>' argument '0' is invalid/],
    ['encode a b --threads 1.5', /argument '1.5' is invalid/],
    ['encode a b --level high', /argument 'high' is invalid/],
    ['encode a b --level', /'--level <n>' argument missing/],
    ['encode a b --progress loud', /Allowed choices are auto, tty, plain, json, none/],
    ['encode a b --profile other', /Allowed choices are containerd/],
    ['encode a b --dm-verity-hash md5', /Allowed choices are sha512, sha256/],
    ['convert layer.tar oci:b', /^error: layer\.tar: not an image reference \(.*encode and build\)\n$/],
    ['convert alpine:3 oci:b', /\(docker:\/\/docker\.io\/library\/alpine:3 if it is in a registry, /],
    ['convert oci:a layer.blob', /^error: layer\.blob: not an image reference/],
    ['convert src oci:b', /oci:src if it is an image layout/],
    ['convert ocii:a oci:b', /unknown transport "ocii:" \(did you mean oci:\?/],
    ['convert docker:alpine oci:b', /two slashes are missing \(docker:\/\/alpine\)/],
    ['convert docker-daemon:alpine oci:b', /not one of this program \(docker save it/],
    ['ls .', /it is a directory, not a file \(.*oci:\. if it is an image layout\)/],
    [
      'lazy',
      /^error: seekable-erofs lazy: which of its commands\? add, rm, ls \(see seekable-erofs lazy --help\)/,
    ],
    ['trace', /which of its commands\? show, merge, push, pull/],
    ['convert oci:a oci:b --platform linux/amd64 --all-platforms', /cannot be used with/],
    [
      'build oci:a image',
      /^error: oci:a: an image reference where a file is expected \(for an image see convert\)\n$/,
    ],
    ['encode oci:a blob', /^error: oci:a: an image reference/],
    ['decode oci:a image', /^error: oci:a: an image reference/],
    ['inspect oci:a --descriptor d.json', /an image has its own descriptors/],
    ['verify oci:a --descriptor d.json', /an image has its own descriptors/],
    ['inspect a --chunks some', /argument 'some' is invalid/],
    ['inspect a --depth -1', /argument '-1' is invalid/],
  ])('%s', async (line, message) => {
    const args = line.split(' ').filter((word) => word !== '');
    const { exitCode, stdout, stderr } = await runWith(args);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^error: [^\n]+: [^\n]+\n$/);
    expect(exitCode).toBe(2);
    if (!args.includes('--json')) expect(stdout).toBe('');
  });

  test('with --json, also a document', async () => {
    const { exitCode, stdout } = await runWith(['encode', '--json', 'a']);
    expect(exitCode).toBe(2);
    const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
    expect(Object.keys(error)).toEqual(['code', 'message']);
    expect(error.code).toBe('USAGE');
    expect(error.message).toContain("missing required argument 'BLOB'");
  });

  test('--json behind -- is an argument, not the flag', async () => {
    expect((await runWith(['encode', '--', '--json'])).stdout).toBe('');
  });

  test.each(['oci-archive:-', 'oci-archive:-:tag'])(
    '--json with an archive on stdout (%s)',
    async (destination) => {
      const { exitCode, stderr } = await runWith(['convert', 'oci:a', destination, '--json']);
      expect(exitCode).toBe(2);
      expect(stderr).toContain('--json');
    },
  );

  test('an archive to a terminal', async () => {
    const { exitCode, stderr } = await runWith(
      ['convert', 'oci:a', 'oci-archive:-'],
      new Capture({ isTTY: true }),
    );
    expect(exitCode).toBe(2);
    expect(stderr).toContain('terminal');
  });
});

test.each(['ls', 'inspect', 'verify', 'encode'])(
  '%s says what an image without a transport is called',
  async (name) => {
    const rest = name === 'encode' ? ['never.blob'] : [];
    const { exitCode, stderr } = await runWith([name, 'ghcr.io/some/app:v1', ...rest]);
    const hint = 'a bare path is a layer; docker://ghcr.io/some/app:v1 if it is an image in a registry';
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining(hint)]);
  },
);

describe('what others call so', () => {
  test('-v and -V are the version', async () => {
    const version = await runWith(['--version']);
    for (const flag of ['-v', '-V', 'version']) expect(await runWith([flag])).toEqual(version);
  });

  test('-h, and no arguments at all, are the help', async () => {
    const help = await runWith(['--help']);
    expect(await runWith(['-h'])).toEqual(help);
    expect(await runWith([])).toEqual(help);
    expect(await runWith(['encode', '-h'])).toEqual(await runWith(['encode', '--help']));
  });

  test('help of what there is not names it, and suggests what there is', async () => {
    const { exitCode, stderr } = await runWith(['help', 'encod']);
    expect([exitCode, stderr]).toEqual([
      2,
      expect.stringMatching(/^error: .*'encod' \(did you mean encode\?\)/),
    ]);
    expect((await runWith(['help', 'nosuch'])).stderr).toContain("'nosuch'");
  });
});

test.each([
  [['encode', 'a', 'b', '--chunk-size', 'abc'], '--chunk-size'],
  [['encode', 'a', 'b', '--dm-verity-block-size', 'abc'], '--dm-verity-block-size'],
  [['encode', 'a', 'b', '--level', 'abc'], '--level'],
  [['encode', 'a', 'b', '--tmp-dir', '-'], '--tmp-dir'],
  [['ls', 'docker://a/b', '--authfile', '-'], '--authfile'],
])('a bad value names its flag: %j', async (args, flag) => {
  const { exitCode, stderr } = await runWith(args);
  expect([exitCode, stderr]).toEqual([2, expect.stringContaining(flag)]);
});
