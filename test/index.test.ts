import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makeTar, noise, sampleTar, sha256 } from './e2e/sample';
import { at, folder, put, useFolders } from './e2e/workspace';
import { LayoutBuilder } from './conformance/support/image';
import { checkCleanLayout } from './conformance/support/layout-check';

// The package as its users get it: from dist/, by require and by import.

useFolders();

type Library = typeof import('../src/index');
const root = resolve(__dirname, '..');
const library = createRequire(join(root, 'package.json'))('seekable-erofs-native') as Library;

/** The layer that the tests write, as a file. */
let tar: string;
beforeEach(async () => {
  tar = await put('layer.tar', await sampleTar());
});

/** How a script ended. */
interface Ended {
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a script in a process of its own, with this package at hand under its name; one that does not end is killed. */
function runScript(script: string, type: 'commonjs' | 'module' = 'commonjs'): Promise<Ended> {
  const child = spawn(process.execPath, [`--input-type=${type}`, '-e', script, folder], {
    cwd: root,
    timeout: 30_000,
    killSignal: 'SIGKILL',
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (text: Buffer) => (stdout += text.toString()));
  child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
  return new Promise((done, fail) => {
    child.on('error', fail);
    child.on('close', (exitCode) => {
      done({ exitCode, stdout, stderr });
    });
  });
}

const publicNames = [
  ...['SeekableErofsError', 'buildErofs', 'convertImage', 'decodeBlob', 'encodeLayer', 'parseChunkTable'],
  ...['serializeChunkTable', 'verifyImage', 'inspect', 'verityRoot', 'verityTree'],
];

describe('the package', () => {
  test('has its public names, by require and by import', async () => {
    expect(Object.keys(library)).toEqual(expect.arrayContaining(publicNames));
    const { stdout, stderr } = await runScript(
      `import * as library from 'seekable-erofs-native'; console.log(JSON.stringify(Object.keys(library)))`,
      'module',
    );
    const imported = JSON.parse(stdout || stderr) as string[];
    expect(imported.filter((name) => name !== 'default' && name !== 'module.exports').sort()).toEqual(
      Object.keys(library).sort(),
    );
  });

  test('is one package, however it is loaded: an error is an instance of the one class', async () => {
    const { stdout, stderr } = await runScript(
      `import { createRequire } from 'node:module';
       import { SeekableErofsError } from 'seekable-erofs-native';
       const required = createRequire(${JSON.stringify(pathToFileURL(join(root, 'package.json')).href)})('seekable-erofs-native');
       await required.buildErofs('/nowhere', '/nowhere/else').catch((error) => {
         console.log(error instanceof SeekableErofsError, error.code);
       });`,
      'module',
    );
    expect(stdout, stderr).toBe('true NOT_FOUND\n');
  });

  test('lets a script end by itself', async () => {
    const script = `const { encodeLayer } = require('seekable-erofs-native');
      const folder = process.argv[1];
      encodeLayer(folder + '/layer.tar', folder + '/blob', { onProgress() {} }).then(({ digest }) => console.log(digest));`;
    const { stdout, exitCode } = await runScript(script);
    expect(exitCode).toBe(0);
    expect(stdout.trim()).toBe(sha256(await readFile(at('blob'))));
  });
});

describe('a run of the program loads what it uses', () => {
  /** The files below dist/ and the packages that a run has loaded. */
  async function loadedBy(args: string[]): Promise<string[]> {
    const script = `const { run } = require('./dist/cli/program.js');
      const silent = new (require('node:stream').Writable)({ write: (chunk, encoding, done) => done() });
      run(${JSON.stringify(args)}, { stdout: silent, stderr: process.stderr }).then((exitCode) => {
        console.log(JSON.stringify({ exitCode, files: Object.keys(require.cache) }));
      });`;
    const { stdout, stderr } = await runScript(script);
    expect(stderr).toBe('');
    const { exitCode, files } = JSON.parse(stdout) as { exitCode: number; files: string[] };
    expect(exitCode).toBe(0);
    return files.map((file) => relative(root, file).replace(/^(dist|node_modules)\//, ''));
  }

  test.each([[['--help']], [['convert', '--help']]])('%j: no library', async (args) => {
    const loaded = await loadedBy(args);
    expect(loaded.filter((name) => /^(index|native\/)/.test(name))).toEqual([]);
  });

  test('--version: no command', async () => {
    const loaded = await loadedBy(['--version']);
    expect(loaded).toContain('cli/program.js');
    expect(loaded.filter((name) => /^(cli\/commands\/|index|native\/)/.test(name))).toEqual([]);
  });

  test('encode: no other command, no store, nothing of mkfs.erofs or the other profile', async () => {
    const loaded = await loadedBy(['encode', tar, at('blob'), '--dm-verity']);
    expect(loaded.filter((name) => name.startsWith('cli/commands/'))).toEqual(['cli/commands/encode.js']);
    const unused = /^(store|convert|image|mount)\/|^layer\/(mkfs|encode-spec|frame-walk)\.js$/;
    expect(loaded.filter((name) => unused.test(name))).toEqual([]);
  });

  test('convert: no store but those that it reads and writes', async () => {
    const source = new LayoutBuilder(at('source'));
    source.name(source.image([source.tarLayer(await sampleTar())]));
    const loaded = await loadedBy(['convert', `oci:${at('source')}`, `oci:${at('dst')}:new`]);
    expect(loaded).toContain('store/layout/layout.js');
    const unused =
      /^store\/(registry|archive|docker)\/|^(tar-stream|streamx|undici|yaml)\/|^convert\/(erofs-cache\/|.*cache\.js$)/;
    expect(loaded.filter((name) => unused.test(name))).toEqual([]);
  });

  const unusedByFiles = /^store\/registry\/|^source\/http-|^erofs\/compressed\/|^undici\//;

  test('batch of layouts: nothing of registries and HTTP', async () => {
    const source = new LayoutBuilder(at('listed'));
    source.name(source.image([source.tarLayer(await sampleTar())]));
    const job = { source: `oci:${at('listed')}`, destination: `oci:${at('made')}:new` };
    await put('list.json', JSON.stringify([job]));
    const loaded = await loadedBy(['batch', at('list.json'), '--quiet']);
    expect(loaded).toContain('convert/batch/batch.js');
    expect(loaded.filter((name) => unusedByFiles.test(name))).toEqual([]);
  });

  test('extract of a file: nothing of registries, HTTP and compressed EROFS', async () => {
    await loadedBy(['build', tar, at('image'), '--quiet']);
    const loaded = await loadedBy(['extract', at('image'), at('folder'), '--quiet']);
    expect(loaded).toContain('erofs/data.js');
    expect(loaded.filter((name) => unusedByFiles.test(name))).toEqual([]);
  });
});

describe('layers', () => {
  test('are built, encoded, decoded, inspected and verified', async () => {
    const built = await library.buildErofs(tar, at('image'));
    const encoded = await library.encodeLayer(tar, at('blob'), {
      chunkSize: 65536,
      dmVerity: true,
      threads: 2,
    });
    expect(built.diffId).toBe(sha256(await readFile(at('image'))));
    expect(encoded).toMatchObject({ diffId: built.diffId, uncompressedSize: built.size, chunkSize: 65536 });
    expect(encoded.digest).toBe(sha256(await readFile(at('blob'))));
    const decoded = await library.decodeBlob(at('blob'), at('decoded'), { descriptor: encoded });
    expect(decoded).toEqual({
      diffId: built.diffId,
      size: built.size,
      chunks: encoded.chunks,
      dmverity: null,
    });
    expect((await readFile(at('decoded'))).equals(await readFile(at('image')))).toBe(true);
    const verified = await library.verifyImage(at('blob'), { descriptor: encoded });
    expect(verified).toMatchObject({ ok: true, layers: [{ digest: encoded.digest, merkle: 'ok' }] });
    const inspection = await library.inspect(at('blob'), { descriptor: encoded });
    expect(inspection).toMatchObject({ profile: 'containerd', table: { chunkSize: 65536 } });
    const rootDigest = await library.verityRoot(at('image'));
    expect(rootDigest).toBe(encoded.annotations['dev.containerd.erofs.dmverity.root_digest']);
  });

  test('parseChunkTable reads the table of a blob, serializeChunkTable writes it', async () => {
    const encoded = await library.encodeLayer(tar, at('blob'), { chunkSize: 65536 });
    const offset = Number(encoded.annotations['dev.containerd.erofs.zstd.chunk_table_offset']);
    const payload = (await readFile(at('blob'))).subarray(offset + 8);
    const table = library.parseChunkTable(payload, offset);
    expect(table.chunkSize).toBe(65536);
    expect(Buffer.from(library.serializeChunkTable(table)).equals(payload)).toBe(true);
  });

  test('onProgress hears of every phase, never backwards', async () => {
    await put(
      'large.tar',
      await makeTar([{ name: 'f', content: Buffer.concat([noise(20 << 20, 'f'), Buffer.alloc(100 << 20)]) }]),
    );
    const events: { phase: string; done: number; total: number; unit: string }[] = [];
    await library.encodeLayer(at('large.tar'), at('blob'), {
      level: 9,
      onProgress: (event) => events.push(event),
    });
    const encodes = events.filter(({ phase }) => phase === 'encode');
    expect(encodes.length).toBeGreaterThan(1);
    encodes.slice(1).forEach(({ done }, i) => {
      expect(done).toBeGreaterThanOrEqual(encodes[i]!.done);
    });
    expect(encodes.at(-1)).toMatchObject({ unit: 'bytes', done: encodes.at(-1)!.total });
  });
});

describe('images', () => {
  beforeEach(async () => {
    const source = new LayoutBuilder(at('source'));
    source.name(source.image([source.tarLayer(await sampleTar())]));
  });

  test('are converted, inspected and verified', async () => {
    const [source, destination] = [`oci:${at('source')}`, `oci:${at('dst')}:new`];
    const converted = await library.convertImage(source, destination, { dmVerity: true });
    expect(checkCleanLayout(at('dst'))).toEqual(['new']);
    expect(await library.verifyImage(destination)).toMatchObject({ ok: true });
    expect(await library.inspect(destination)).toMatchObject({ digest: converted.digest });
  });

  test('an aborted conversion is CANCELLED, and leaves nothing', async () => {
    const controller = new AbortController();
    const call = library.convertImage(`oci:${at('source')}`, `oci:${at('dst')}:new`, {
      signal: controller.signal,
      onProgress: () => {
        controller.abort();
      },
    });
    await expect(call).rejects.toMatchObject({ code: 'CANCELLED' });
    expect((await readdir(folder)).sort()).toEqual(['layer.tar', 'source']);
  });
});

describe('a signal', () => {
  /** A minute and a half of work: what waits for its end is found out. */
  const slow = { level: 22, threads: 1, chunkSize: 1 << 20 };
  let largeTar: Buffer;
  let large: string;
  beforeAll(async () => {
    const text = noise(30 << 20, 'text').toString('hex');
    largeTar = await makeTar([{ name: 'f', content: Buffer.from(text + text) }]);
  });
  beforeEach(async () => {
    large = await put('large.tar', largeTar);
  });

  test('that is aborted already ends every call at once', async () => {
    await library.encodeLayer(tar, at('blob'), {});
    const signal = AbortSignal.abort();
    const calls = [
      () => library.buildErofs(tar, at('new'), { signal }),
      () => library.encodeLayer(tar, at('new'), { signal }),
      () => library.decodeBlob(at('blob'), at('new'), { signal }),
      () => library.verityRoot(tar, { signal }),
      () => library.verityTree(tar, { signal }),
      () => library.verifyImage(at('blob'), { signal }),
    ];
    for (const call of calls)
      await expect(call()).rejects.toMatchObject({ code: 'CANCELLED', name: 'SeekableErofsError' });
    expect((await readdir(folder)).sort()).toEqual(['blob', 'large.tar', 'layer.tar']);
  });

  test('aborted in the middle ends encodeLayer within a second of work', async () => {
    const controller = new AbortController();
    let aborted: NodeJS.CpuUsage | undefined;
    const call = library.encodeLayer(large, at('blob'), {
      ...slow,
      signal: controller.signal,
      onProgress: ({ phase }) => {
        if (phase !== 'encode' || aborted !== undefined) return;
        aborted = process.cpuUsage();
        controller.abort();
      },
    });
    await expect(call).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(aborted).toBeDefined();
    const { user, system } = process.cpuUsage(aborted); // µs, of all threads
    expect(user + system).toBeLessThan(1e6);
    expect((await readdir(folder)).sort()).toEqual(['large.tar', 'layer.tar']);
  });

  test('ends one call of several', async () => {
    const controller = new AbortController();
    const ended = library.encodeLayer(large, at('one'), { ...slow, signal: controller.signal });
    const other = library.encodeLayer(tar, at('two'));
    controller.abort();
    await expect(ended).rejects.toMatchObject({ code: 'CANCELLED' });
    expect((await other).digest).toBe(sha256(await readFile(at('two'))));
  });

  test.each([
    ['process.exit', `setTimeout(() => process.exit(7), 500);`, 7],
    ['an error that nobody caught', `setTimeout(() => { throw new Error('on purpose'); }, 500);`, 1],
    ['process.exit in onProgress', `options.onProgress = () => process.exit(7);`, 7],
  ])('%s in the middle ends the process', async (_name, end, exitCode) => {
    const script = `const { encodeLayer } = require('seekable-erofs-native');
      const options = ${JSON.stringify(slow)};
      const folder = process.argv[1];
      ${end}
      encodeLayer(folder + '/large.tar', folder + '/blob', options).then(() => console.log('it was done before'));`;
    const ended = await runScript(script);
    expect(ended.stdout).toBe('');
    expect(ended.exitCode, ended.stderr).toBe(exitCode);
  });

  test('a worker thread encodes, and is terminated in the middle', async () => {
    await writeFile(
      at('worker.cjs'),
      `const { parentPort, workerData } = require('node:worker_threads');
       const { encodeLayer } = require(${JSON.stringify(root)});
       encodeLayer(...workerData).then(({ digest }) => parentPort.postMessage(digest));`,
    );
    const script = `const { Worker } = require('node:worker_threads');
      const { once } = require('node:events');
      const folder = process.argv[1];
      const start = (...workerData) => new Worker(folder + '/worker.cjs', { workerData });
      (async () => {
        const quick = start(folder + '/layer.tar', folder + '/quick', {});
        console.log((await once(quick, 'message'))[0]);
        // While it loads the addon, which may be in the middle of anything, and while that works.
        for (const delay of [...Array.from({ length: 20 }, (_, i) => 20 + 2 * i), 200, 350, 500]) {
          const slow = start(folder + '/large.tar', folder + '/slow', ${JSON.stringify(slow)});
          await once(slow, 'online');
          await new Promise((done) => setTimeout(done, delay));
          const before = process.cpuUsage();
          await slow.terminate();
          const { user, system } = process.cpuUsage(before);
          console.log(user + system < 1e6 ? 'terminated' : 'late');
        }
        const after = await require('seekable-erofs-native').encodeLayer(folder + '/layer.tar', folder + '/after');
        console.log(after.digest);
      })();`;
    const { stdout, exitCode, stderr } = await runScript(script);
    const digest = sha256(await readFile(at('after')));
    expect(stdout.split('\n'), stderr).toEqual([digest, ...Array<string>(23).fill('terminated'), digest, '']);
    expect(exitCode).toBe(0);
  });
});

describe('dm-verity', () => {
  interface Vector {
    algorithm: 'sha256' | 'sha512';
    blockSize: number;
    dataBlocks: number;
    salt: string;
    payloadLength: number;
    payloadSha256: string;
    rootHash: string;
    payloadFile?: string;
  }
  const golden = join(__dirname, 'golden/verity');
  const { vectors } = JSON.parse(readFileSync(join(golden, 'vectors.json'), 'utf8')) as { vectors: Vector[] };

  /** The recipe of the images in vectors.json. */
  const image = (size: number): Buffer => {
    const bytes = Buffer.alloc(size);
    for (let i = 0; i < size; i++) bytes[i] = Math.imul(i, 2654435761) >>> 24;
    return bytes;
  };
  const chosen = vectors.filter(({ payloadFile, dataBlocks }) => payloadFile !== undefined || dataBlocks < 5);

  test('roots and trees are those of veritysetup', async () => {
    expect(chosen.length).toBeGreaterThan(20);
    for (const { algorithm, blockSize, dataBlocks, salt, payloadLength, rootHash, payloadFile } of chosen) {
      const file = await put('image', image(blockSize * dataBlocks));
      const options = { algorithm, blockSize, salt: Buffer.from(salt, 'hex') };
      const built = await library.verityTree(file, options);
      expect(built).toMatchObject({ rootDigest: `${algorithm}:${rootHash}`, dataBlocks });
      expect(built.tree.length).toBe(payloadLength - blockSize);
      if (payloadFile !== undefined)
        expect(built.tree.equals(readFileSync(join(golden, payloadFile)).subarray(blockSize))).toBe(true);
      expect(await library.verityRoot(file, options)).toBe(built.rootDigest);
    }
  });

  test('a short last block is padded with zeros', async () => {
    const bytes = image(3 * 4096);
    await put('short', bytes.subarray(0, 10_000));
    await put('padded', Buffer.concat([bytes.subarray(0, 10_000), Buffer.alloc(2 * 4096 + 4096 - 10_000)]));
    expect(await library.verityRoot(at('short'))).toBe(await library.verityRoot(at('padded')));
  });

  test('an empty file and an odd block size are USAGE', async () => {
    await put('empty', '');
    await expect(library.verityRoot(at('empty'))).rejects.toMatchObject({ code: 'USAGE' });
    await expect(library.verityRoot(tar, { blockSize: 1000 })).rejects.toMatchObject({ code: 'USAGE' });
  });
});

test('errors have a stable code, and say what, why and what to do', async () => {
  await put('noise', noise(5000, 'noise'));
  const error = await library.encodeLayer(at('noise'), at('blob')).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(library.SeekableErofsError);
  expect(error).toMatchObject({ code: 'CORRUPT', what: at('noise'), why: expect.any(String) as string });
});
