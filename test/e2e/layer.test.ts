import { readFile, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { documentOf, runCli, runJson } from './run-cli';
import { filesUnder, sampleTar, sha256 } from './sample';
import { at, encodeSample, expectFailure, folder, keys, put, useFolders, type Encoded } from './workspace';

useFolders();

describe('build', () => {
  test('makes the same image of a tar, plain or compressed, with any number of threads', async () => {
    const tar = await sampleTar();
    await put('layer.tar', tar);
    await put('layer.tar.gz', gzipSync(tar));
    const built = await documentOf<{ diffId: string; size: number; inodes: number; blockSize: number }>(
      ['build', 'layer.tar', 'one.erofs', '--threads', '1'],
      { cwd: folder },
    );
    expect(keys(built)).toEqual(['blockSize', 'diffId', 'inodes', 'size']);
    const image = await readFile(at('one.erofs'));
    expect(built).toMatchObject({ diffId: sha256(image), size: image.length, inodes: 9, blockSize: 4096 });
    await documentOf(['build', 'layer.tar.gz', 'two.erofs', '--threads', '4'], { cwd: folder });
    expect(sha256(await readFile(at('two.erofs')))).toBe(built.diffId);
  });

  test('0 bytes are an empty tar', async () => {
    await put('empty', '');
    expect(await documentOf(['build', 'empty', 'image'], { cwd: folder })).toMatchObject({ inodes: 1 });
  });

  test('names a compression that it does not read', async () => {
    const file = await put(
      'layer.xz',
      Buffer.concat([Buffer.from('fd377a585a000004', 'hex'), Buffer.alloc(600)]),
    );
    const { exitCode, stderr } = await runCli(['build', file, at('image')]);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^error: .*layer\.xz: it is compressed by xz \(decompress it first.*\)\n$/);
  });

  test('takes neither an image nor a blob', async () => {
    const { blob } = await encodeSample();
    await documentOf(['build', 'layer.tar', 'image'], { cwd: folder });
    await expectFailure(['build', 'image', 'again'], 2, 'USAGE');
    await expectFailure(['build', blob, 'again'], 2, 'USAGE');
    expect(await filesUnder(folder)).not.toContain('again');
  });
});

describe('encode and decode', () => {
  test('encode prints the descriptor of what it wrote', async () => {
    const { blob, encoded } = await encodeSample();
    const bytes = await readFile(blob);
    expect(keys(encoded)).toEqual([
      'annotations',
      'chunkSize',
      'chunks',
      'diffId',
      'digest',
      'mediaType',
      'size',
      'uncompressedSize',
    ]);
    expect(encoded).toMatchObject({
      mediaType: 'application/vnd.erofs.layer.v1+zstd',
      digest: sha256(bytes),
      size: bytes.length,
      chunkSize: 65536,
      chunks: Math.ceil(encoded.uncompressedSize / 65536),
    });
    expect(keys(encoded.annotations)).toEqual([
      'dev.containerd.erofs.zstd.chunk_digest',
      'dev.containerd.erofs.zstd.chunk_table_offset',
    ]);
  });

  test('decode gives the image that build makes', async () => {
    const { blob, descriptor, encoded } = await encodeSample();
    const decoded = await documentOf<object>(['decode', blob, at('image'), '--descriptor', descriptor]);
    expect(decoded).toEqual({
      diffId: encoded.diffId,
      size: encoded.uncompressedSize,
      chunks: encoded.chunks,
      dmverity: null,
    });
    const { diffId } = await documentOf<{ diffId: string }>(['build', at('layer.tar'), at('built')]);
    expect(sha256(await readFile(at('image')))).toBe(encoded.diffId);
    expect(diffId).toBe(encoded.diffId);
  });

  test('dm-verity: the tree travels in the blob and is materialised with its sidecar', async () => {
    const { blob, descriptor, encoded } = await encodeSample('--dm-verity');
    const rootDigest = encoded.annotations['dev.containerd.erofs.dmverity.root_digest']!;
    expect(rootDigest).toMatch(/^sha512:[0-9a-f]{128}$/);
    const args = ['decode', blob, at('image'), '--descriptor', descriptor, '--dm-verity'];
    const { dmverity } = await documentOf<{ dmverity: { rootDigest: string; hashOffset: number } }>(args);
    const image = await readFile(at('image'));
    expect(dmverity).toEqual({ rootDigest, hashOffset: Math.ceil(encoded.uncompressedSize / 4096) * 4096 });
    expect(image.subarray(dmverity.hashOffset, dmverity.hashOffset + 8).toString('latin1')).toBe(
      'verity\0\0',
    );
    expect(sha256(image.subarray(0, encoded.uncompressedSize))).toBe(encoded.diffId);
    expect(await readFile(at('image.dmverity'), 'utf8')).toBe(
      `{\n  "roothash": "${rootDigest.slice(7)}",\n  "hashoffset": ${dmverity.hashOffset}\n}\n`,
    );
  });

  test('--dm-verity of a blob without a tree is exit 1 and leaves nothing', async () => {
    const { blob, descriptor } = await encodeSample();
    await expectFailure(['decode', blob, 'image', '--descriptor', descriptor, '--dm-verity'], 1, 'FAILED');
    expect(await filesUnder(folder)).toEqual(['descriptor.json', 'layer.blob', 'layer.tar']);
  });

  test('the bytes do not depend on the threads, nor on how a size is spelt', async () => {
    const { encoded } = await encodeSample('--dm-verity', '--threads', '1');
    for (const flags of [
      ['--threads', '3'],
      ['--chunk-size', '65536'],
      ['--dm-verity-block-size', '4KiB'],
    ]) {
      expect((await encodeSample('--dm-verity', ...flags)).encoded).toEqual(encoded);
    }
  });

  test('a raw EROFS image is a layer too; a seekable blob is none', async () => {
    const { blob, encoded } = await encodeSample();
    await documentOf(['build', at('layer.tar'), at('image')]);
    const again = await documentOf<Encoded>(['encode', at('image'), at('again'), '--chunk-size', '64KiB']);
    expect(again).toEqual(encoded);
    await expectFailure(['encode', blob, 'twice'], 2, 'USAGE');
  });

  test('decode takes no tar and no raw image', async () => {
    await put('layer.tar', await sampleTar());
    await documentOf(['build', 'layer.tar', 'raw'], { cwd: folder });
    expect(await expectFailure(['decode', 'layer.tar', 'image'], 2, 'USAGE')).toMatch(/encode|convert/);
    await expectFailure(['decode', 'raw', 'image'], 2, 'USAGE');
  });

  test.each([
    ['--chunk-size', '4095'],
    ['--chunk-size', '6000'],
    ['--chunk-size', '0'],
    ['--chunk-size', '2GiB'],
    ['--chunk-size', 'big'],
    ['--dm-verity-block-size', '8192'],
    ['--dm-verity-block-size', '1000'],
    ['--dm-verity-hash', 'sha256'],
    ['--threads', '-1'],
    ['--threads', '0'],
    ['--threads', '1000000000'],
    ['--threads', '1e9'],
    ['--level', '99'],
    ['--threads', '0'],
  ])('%s %s is exit 2', async (flag, value) => {
    await put('layer.tar', await sampleTar());
    await expectFailure(['encode', 'layer.tar', 'blob', '--dm-verity', flag, value], 2, 'USAGE');
    expect(await filesUnder(folder)).toEqual(['layer.tar']);
  });

  test.each([
    ['--dm-verity-hash', 'sha512'],
    ['--dm-verity-block-size', '4096'],
  ])('%s %s does nothing without --dm-verity: exit 2', async (flag, value) => {
    await put('layer.tar', await sampleTar());
    await expectFailure(['encode', 'layer.tar', 'blob', flag, value], 2, 'USAGE');
    expect(await filesUnder(folder)).toEqual(['layer.tar']);
  });
});

describe('inspect and verify of a blob', () => {
  test('inspect shows the table and the superblock', async () => {
    const { blob, descriptor, encoded } = await encodeSample('--dm-verity');
    interface Inspection {
      table: { entries: { offset: number; size: number; checksum: string }[] };
      dmverity: object;
    }
    const document = await documentOf<Inspection>([
      'inspect',
      blob,
      '--descriptor',
      descriptor,
      '--chunks',
      '1',
    ]);
    expect(keys(document)).toEqual(['dmverity', 'mediaType', 'profile', 'size', 'table', 'tree']);
    expect(keys(document.table)).toEqual([
      'chunkSize',
      'digest',
      'entries',
      'hashAlgorithm',
      'offset',
      'uncompressedSize',
      'version',
    ]);
    expect(document).toMatchObject({
      mediaType: encoded.mediaType,
      size: encoded.size,
      profile: 'containerd',
      table: {
        offset: Number(encoded.annotations['dev.containerd.erofs.zstd.chunk_table_offset']),
        version: 1,
        uncompressedSize: encoded.uncompressedSize,
        chunkSize: 65536,
        hashAlgorithm: 'sha512',
        digest: encoded.annotations['dev.containerd.erofs.zstd.chunk_digest'],
      },
      dmverity: {
        offset: Number(encoded.annotations['dev.containerd.erofs.dmverity.offset']),
        rootDigest: encoded.annotations['dev.containerd.erofs.dmverity.root_digest'],
        hashAlgorithm: 'sha512',
        dataBlockSize: 4096,
        hashBlockSize: 4096,
        dataBlocks: Math.ceil(encoded.uncompressedSize / 4096),
        salt: '',
      },
    });
    expect(keys(document.dmverity)).toEqual([
      'dataBlockSize',
      'dataBlocks',
      'hashAlgorithm',
      'hashBlockSize',
      'offset',
      'rootDigest',
      'salt',
      'uuid',
    ]);
    expect(document.table.entries).toHaveLength(encoded.chunks);
    expect(keys(document.table.entries[0]!)).toEqual(['checksum', 'offset', 'size']);
    expect(document.table.entries[0]!.checksum).toMatch(/^sha512:[0-9a-f]{128}$/);
  });

  test('verify counts what it checked', async () => {
    const { blob, descriptor, encoded } = await encodeSample('--dm-verity');
    expect(await documentOf(['verify', blob, '--descriptor', descriptor])).toEqual({
      ok: true,
      layers: [
        {
          digest: encoded.digest,
          frames: encoded.chunks,
          chunksVerified: encoded.chunks,
          diffId: encoded.diffId,
          merkle: 'ok',
        },
      ],
    });
    const { stdout } = await runCli(['verify', blob, '--descriptor', descriptor]);
    expect(stdout.toString()).toMatch(/\n1 layer: [\d.]+ [kM]B, [\d.]+ MB\/s, [\d.]+ s\n$/);
  });

  test('a bare blob is read with a warning, and its tree is unvouched', async () => {
    const { blob } = await encodeSample('--dm-verity');
    const { document, ...run } = await runJson<{ layers: { merkle: string }[] }>(['verify', blob]);
    expect(run.exitCode).toBe(0);
    expect(run.stderr).toMatch(/^warning: .+\n$/);
    expect(document.layers[0]!.merkle).toBe('unvouched');
    expect((await runCli(['verify', blob, '--quiet'])).stderr).toBe('');
  });

  test('a descriptor without a table digest needs --allow-unverified', async () => {
    const { blob, encoded } = await encodeSample();
    const offset = 'dev.containerd.erofs.zstd.chunk_table_offset';
    const annotations = { [offset]: encoded.annotations[offset] };
    const descriptor = await put('loose.json', JSON.stringify({ ...encoded, annotations }));
    for (const args of [
      ['decode', blob, 'image'],
      ['inspect', blob],
    ]) {
      await expectFailure([...args, '--descriptor', descriptor], 3, 'UNVERIFIED');
      await documentOf([...args, '--descriptor', descriptor, '--allow-unverified'], { cwd: folder });
    }
  });

  test('a tar layer has a digest and a DiffID to show', async () => {
    const tar = await sampleTar();
    const file = await put('layer.tar.gz', gzipSync(tar));
    const document = await documentOf<{ layers: object[] }>(['verify', file]);
    expect(document).toMatchObject({
      ok: true,
      layers: [{ digest: sha256(gzipSync(tar)), diffId: sha256(tar) }],
    });
    expect(await documentOf(['inspect', file])).toMatchObject({ table: null, dmverity: null, tree: null });
  });

  test('one changed byte is found, whoever vouches', async () => {
    const { blob, descriptor } = await encodeSample('--dm-verity');
    const bytes = await readFile(blob);
    bytes[5000]! ^= 1;
    await writeFile(blob, bytes);
    for (const flags of [['--descriptor', descriptor], []]) {
      const run = await runJson<{ ok: boolean; layers: unknown[] }>(['verify', blob, ...flags]);
      expect(run.exitCode).toBe(3);
      expect(run.document).toMatchObject({ ok: false });
      expect(run.stderr).toMatch(/^error: .+: .+\n$/m);
      await runCli(['decode', blob, at('image'), '--dm-verity', ...flags]).then(({ exitCode }) => {
        expect(exitCode).toBe(3);
      });
    }
    expect(await filesUnder(folder)).toEqual(['descriptor.json', 'layer.blob', 'layer.tar']);
  });

  test.each([
    ['digest', { digest: `sha256:${'0'.repeat(64)}` }],
    ['size', { size: 1 }],
    ['diffId', { diffId: `sha256:${'0'.repeat(64)}` }],
  ])('a wrong %s in the descriptor is exit 3', async (_name, change) => {
    const { blob, encoded } = await encodeSample();
    const descriptor = await put('wrong.json', JSON.stringify({ ...encoded, ...change }));
    await expectFailure(['decode', blob, 'image', '--descriptor', descriptor], 3, 'MISMATCH');
    expect(await filesUnder(folder)).not.toContain('image');
    expect((await runCli(['verify', blob, '--descriptor', descriptor])).exitCode).toBe(3);
  });
});
