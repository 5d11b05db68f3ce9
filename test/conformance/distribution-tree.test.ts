import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { documentOf, runCli } from '../e2e/run-cli';
import type { Encoded } from '../e2e/workspace';
import { hex, parseBlob, type Blob } from './support/blob';
import { writeMadeTree } from './support/made-tree';
import { run, titleOf, whyNoMounts, whyWithout } from './support/machine';
import { extractTar, writeSystemTar } from './support/system-tar';

// The claim: a layer as large as a distribution's, with files of this machine's own and every oddity that an inode can have, comes out of
// the kernel as GNU tar unpacks it; its blob is what the format says; and the dm-verity tree is what cryptsetup accepts.

const reason = whyNoMounts();
const support = join(__dirname, 'support');

interface Entry {
  path: string;
  type: string;
  size?: number;
  nlink?: number;
  xattrs: Record<string, string>;
}

let folder: string;
const at = (name: string): string => join(folder, name);

function sha256OfFile(path: string): string {
  const digest = createHash('sha256');
  const file = openSync(path, 'r');
  const block = Buffer.alloc(1 << 20);
  for (let n = readSync(file, block); n > 0; n = readSync(file, block)) digest.update(block.subarray(0, n));
  closeSync(file);
  return digest.digest('hex');
}

/** Every inode of a tree as a line of JSON, by its path. */
function walk(tree: string): Map<string, string> {
  const lines = run('python3', [join(support, 'walk.py'), tree])
    .toString('latin1')
    .trimEnd()
    .split('\n');
  return new Map(lines.map((line) => [(JSON.parse(line) as Entry).path, line]));
}

function differences(actual: Map<string, string>, expected: Map<string, string>): object[] {
  const paths = [...new Set([...actual.keys(), ...expected.keys()])];
  const different = paths.filter((path) => actual.get(path) !== expected.get(path));
  return different.map((path) => ({ path, expected: expected.get(path), actual: actual.get(path) }));
}

describe.skipIf(reason !== null)(titleOf('the tree of a distribution', reason), () => {
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'distribution-tree-'));
    for (const name of ['extra', 'extracted', 'mounted']) mkdirSync(at(name));
    run('python3', [join(support, 'odd_tree.py'), at('extra')]);
    writeMadeTree(at('extra'));
    writeSystemTar(at('layer.tar'), at('extra'));
    extractTar(at('layer.tar'), at('extracted'));
  }, 600_000);
  afterAll(() => {
    spawnSync('umount', [at('mounted')]);
    rmSync(folder, { recursive: true, force: true });
  });

  test('mounts as what GNU tar extracts, inode by inode', async () => {
    expect(statSync(at('layer.tar')).size).toBeGreaterThan(200_000_000);
    const built = await documentOf<{ inodes: number }>(['build', at('layer.tar'), at('image')]);
    run('mount', ['-t', 'erofs', '-o', 'ro', at('image'), at('mounted')]);
    const expected = walk(at('extracted'));
    expect(differences(walk(at('mounted')), expected)).toEqual([]);
    const entries = [...expected.values()].map((line) => JSON.parse(line) as Entry);
    const further = entries.reduce((sum, { nlink = 1 }) => sum + 1 - 1 / nlink, 0);
    expect(built.inodes).toBe(Math.round(entries.length - further));
  });

  test('the tree has what the comparison is about', () => {
    const lines = [...walk(at('extracted')).values()];
    const entries = lines.map((line) => JSON.parse(line) as Entry);
    expect(entries.length).toBeGreaterThan(5000);
    expect(entries.reduce((sum, { size = 0 }) => sum + size, 0)).toBeGreaterThan(200_000_000);
    const types = [...new Set(entries.map(({ type }) => type))].sort();
    expect(types).toEqual(['block', 'char', 'dir', 'fifo', 'file', 'symlink']);
    const names = entries.flatMap(({ xattrs }) => Object.keys(xattrs));
    expect(names).toEqual(
      expect.arrayContaining([
        'security.capability',
        'system.posix_acl_access',
        'system.posix_acl_default',
        'trusted.link',
        'trusted.note',
        'user.\\xff\\xfename',
      ]),
    );
    expect(entries.some(({ path }) => path.includes('\\x0a'))).toBe(true);
    for (const time of ['-1500000001', '4294967296999999999', '15000000000123456789'])
      expect(lines.some((line) => line.includes(`"mtime": ${time},`))).toBe(true);
    expect(
      entries.filter(({ path }) => path.startsWith('/odd/links/')).some(({ nlink }) => nlink === 3),
    ).toBe(true);
  });

  test.skipIf(whyWithout('fsck.erofs') !== null)(
    titleOf('passes fsck.erofs', whyWithout('fsck.erofs')),
    () => {
      const { status, stdout, stderr } = spawnSync('fsck.erofs', [at('image')], { encoding: 'utf8' });
      expect({ status, text: stdout + stderr }).toEqual({
        status: 0,
        text: expect.not.stringContaining('<E>') as string,
      });
    },
  );

  describe('as a blob', () => {
    let encoded: Encoded;
    let blob: Blob;
    const annotation = (name: string): string => encoded.annotations[`dev.containerd.erofs.${name}`]!;

    beforeAll(async () => {
      encoded = await documentOf<Encoded>(['encode', at('layer.tar'), at('blob'), '--dm-verity']);
      blob = parseBlob(readFileSync(at('blob')), Number(annotation('zstd.chunk_table_offset')));
    });

    test('is what its descriptor says, frame by frame', () => {
      expect(encoded.digest).toBe(`sha256:${sha256OfFile(at('blob'))}`);
      expect(encoded.size).toBe(statSync(at('blob')).size);
      expect(annotation('zstd.chunk_digest')).toBe(`sha512:${hex('sha512', blob.table)}`);
      expect(annotation('dmverity.offset')).toBe(String(blob.verity!.offset));
      const { size } = statSync(at('image'));
      expect(blob.uncompressedSize).toBe(size);
      expect(blob.chunkSize).toBe(512 << 10);
      expect(blob.frames[0]!.offset).toBe(0);
      expect(blob.frames.length).toBe(Math.ceil(size / (512 << 10)));
      expect(blob.frames.length).toBeGreaterThan(40);
      for (const { checksum, bytes } of blob.frames) {
        expect(bytes.readUInt32LE(0)).toBe(0xfd2fb528);
        expect(hex('sha512', bytes)).toBe(checksum);
      }
    });

    test.skipIf(whyWithout('zstd') !== null)(
      titleOf('zstd makes the image of it, whole and frame by frame', whyWithout('zstd')),
      () => {
        const image = sha256OfFile(at('image'));
        expect(encoded.diffId).toBe(`sha256:${image}`);
        run('sh', ['-c', 'zstd -dc "$0" > "$1"', at('blob'), at('by-zstd')]);
        expect(sha256OfFile(at('by-zstd'))).toBe(image);
        const bytes = readFileSync(at('image'));
        for (const i of [0, blob.frames.length >> 1, blob.frames.length - 1]) {
          const { status, stdout } = spawnSync('zstd', ['-dc'], {
            input: blob.frames[i]!.bytes,
            maxBuffer: 2 ** 26,
          });
          expect(status).toBe(0);
          expect(stdout.equals(bytes.subarray(i * blob.chunkSize, (i + 1) * blob.chunkSize))).toBe(true);
        }
      },
    );

    test.skipIf(whyWithout('veritysetup') !== null)(
      titleOf('veritysetup accepts its tree, and no changed byte', whyWithout('veritysetup')),
      async () => {
        const rootHash = annotation('dmverity.root_digest').replace('sha512:', '');
        const { dmverity } = await documentOf<{ dmverity: { hashOffset: number } }>([
          ...['decode', at('blob'), at('device'), '--dm-verity'],
          ...['--descriptor', writeDescriptor(encoded)],
        ]);
        const { hashOffset } = dmverity;
        const device = readFileSync(at('device'));
        expect(hashOffset).toBe(Math.ceil(blob.uncompressedSize / 4096) * 4096);
        expect(hex('sha256', device.subarray(0, blob.uncompressedSize))).toBe(encoded.diffId.slice(7));
        expect(device.subarray(hashOffset).equals(blob.verity!.payload)).toBe(true);
        const verify = (): number | null =>
          spawnSync('veritysetup', [
            'verify',
            at('device'),
            at('device'),
            rootHash,
            `--hash-offset=${hashOffset}`,
          ]).status;
        expect(verify()).toBe(0);
        for (const place of [
          100_000_001,
          blob.uncompressedSize - 1,
          hashOffset + 4096,
          device.length - 4096,
        ]) {
          flip(at('device'), place);
          expect(verify(), `byte ${place}`).not.toBe(0);
          flip(at('device'), place);
        }
        expect(verify()).toBe(0);
      },
    );

    test('verify finds nothing, and one changed byte anywhere', async () => {
      const args = ['verify', at('blob'), '--descriptor', writeDescriptor(encoded)];
      expect(await documentOf(args)).toMatchObject({
        ok: true,
        layers: [{ merkle: 'ok', frames: blob.frames.length }],
      });
      for (const place of [70_000_001, blob.tableOffset + 40, encoded.size - 1]) {
        flip(at('blob'), place);
        expect((await runCli(args)).exitCode, `byte ${place}`).toBe(3);
        flip(at('blob'), place);
      }
    });
  });
});

function writeDescriptor(encoded: Encoded): string {
  const file = openSync(at('descriptor.json'), 'w');
  writeSync(file, JSON.stringify(encoded));
  closeSync(file);
  return at('descriptor.json');
}

function flip(path: string, place: number): void {
  const file = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, place);
  byte[0]! ^= 0x10;
  writeSync(file, byte, 0, 1, place);
  closeSync(file);
}
