import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ListedEntry } from '../../src/index';
import { RangeServer } from '../support/range-server';
import { documentOf, runCli } from './run-cli';
import { makeTar, noise } from './sample';
import { at, encodeSample, expectFailure, put, useFolders, type Encoded } from './workspace';

useFolders();

describe('cat', () => {
  let blob: string;
  let descriptor: string;
  beforeEach(async () => {
    ({ blob, descriptor } = await encodeSample());
  });
  const cat = async (path: string, ...args: string[]): Promise<Buffer> => {
    const run = await runCli(['cat', blob, path, '--descriptor', descriptor, ...args]);
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.stderr).toBe('');
    return run.stdout;
  };

  test('writes the bytes of a file, also through links', async () => {
    expect(await cat('/usr/bin/tool')).toEqual(noise(300_000, 'tool'));
    expect((await cat('/etc/link')).toString()).toBe('sample\n');
    expect((await cat('usr/../etc/hostn\\x61me')).toString()).toBe('sample\n');
  });

  test('ends quietly when nobody reads on', async () => {
    const args = ['cat', blob, '/usr/share/text', '--descriptor', descriptor];
    const run = await runCli(args, { closeStdoutAfter: 1000 });
    expect({ exitCode: run.exitCode, stderr: run.stderr }).toEqual({ exitCode: 0, stderr: '' });
  });

  test('fails for what is no file, and with --json', async () => {
    const flags = ['--descriptor', descriptor];
    const fails = async (path: string): Promise<string> => {
      const run = await runCli(['cat', blob, path, ...flags]);
      expect({ exitCode: run.exitCode, bytes: run.stdout.length }).toEqual({ exitCode: 1, bytes: 0 });
      return run.stderr;
    };
    expect(await fails('/etc')).toBe('error: /etc: it is a directory, not a file\n');
    expect(await fails('/none')).toMatch(/^error: \/none: /);
    await expectFailure(['cat', blob, '/etc/hostname', ...flags], 2, 'USAGE');
  });

  test('checks the frames that it uses, and only those', async () => {
    const { annotations } = JSON.parse(await readFile(descriptor, 'utf8')) as Encoded;
    expect(Object.keys(annotations)).not.toHaveLength(0);
    const { table } = await documentOf<{ table: { entries: { offset: number }[] } }>([
      'inspect',
      blob,
      '--descriptor',
      descriptor,
    ]);
    const bytes = await readFile(blob);
    const middle = table.entries[2]!.offset + 50;
    bytes[middle]! ^= 1;
    const damaged = await put('damaged.blob', bytes);
    const run = (path: string) => runCli(['cat', damaged, path, '--descriptor', descriptor]);
    expect((await run('/etc/hostname')).stdout.toString()).toBe('sample\n');
    const bad = await run('/usr/bin/tool');
    expect({ exitCode: bad.exitCode, stderr: bad.stderr }).toEqual({
      exitCode: 3,
      stderr: expect.stringMatching(/frame 2/) as string,
    });
  });
});

describe('over HTTP', () => {
  const chunkSize = 256 << 10;
  const tenKilobytes = noise(10_000, 'small');
  let server: RangeServer;
  let descriptor: string;
  let offsets: number[];
  /** Frames before the first data of a file. */
  let metadataFrames: number;

  beforeEach(async () => {
    const files = Array.from({ length: 400 }, (_, i) => ({
      name: `d${i % 20}/file${i}`,
      content: i === 217 ? tenKilobytes : noise(80_000, `${i}`),
    }));
    const tar = await put('big.tar', await makeTar(files));
    await documentOf(['build', tar, at('big.erofs')]);
    const args = ['encode', tar, at('big.blob'), '--chunk-size', `${chunkSize}`];
    descriptor = await put('big.json', JSON.stringify(await documentOf(args)));
    const image = await readFile(at('big.erofs'));
    // Every file begins with bytes of its own; metadata comes first.
    const firstData = Math.min(...files.map(({ content }) => image.indexOf(content.subarray(0, 64))));
    metadataFrames = Math.ceil(firstData / chunkSize);
    const { table } = await documentOf<{ table: { entries: { offset: number; size: number }[] } }>([
      ...['inspect', at('big.blob'), '--descriptor', descriptor],
    ]);
    offsets = [
      ...table.entries.map(({ offset }) => offset),
      table.entries.at(-1)!.offset + table.entries.at(-1)!.size,
    ];
    server = await RangeServer.start(await readFile(at('big.blob')));
  });
  afterEach(() => server.stop());

  /** Bytes of the frames, and others (the table), that were sent. */
  function transferred(): { frames: number; others: number } {
    const end = offsets.at(-1)!;
    let [frames, others] = [0, 0];
    for (const { range } of server.requests) {
      expect(range).not.toBeNull();
      const { first, last } = range!;
      frames += Math.max(0, Math.min(last + 1, end) - first);
      others += Math.max(0, last + 1 - Math.max(first, end));
    }
    return { frames, others };
  }
  const frameBytes = (from: number, to: number): number => offsets[to]! - offsets[from]!;

  test('cat of one file fetches the metadata and two chunks at most', async () => {
    const run = await runCli(['cat', server.url, '/d17/file217', '--descriptor', descriptor]);
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.stdout).toEqual(tenKilobytes);
    const { frames, others } = transferred();
    const largest = Math.max(...offsets.slice(1).map((offset, i) => offset - offsets[i]!));
    expect(frames).toBeLessThanOrEqual(frameBytes(0, metadataFrames) + 2 * largest);
    expect(others).toBeLessThan(64 << 10);
    expect(frames).toBeLessThan(server.bytes.length / 20);
  });

  test('ls -R fetches the metadata alone', async () => {
    const listed = await documentOf<ListedEntry[]>(['ls', server.url, '-R', '--descriptor', descriptor]);
    expect(listed).toHaveLength(1 + 20 + 400);
    // One byte more: opening asks for the first one, to see whether the server answers ranges.
    expect(transferred().frames).toBeLessThanOrEqual(frameBytes(0, metadataFrames) + 1);
  });

  test('extract of everything gives every byte', async () => {
    await documentOf(['extract', server.url, at('out'), '--descriptor', descriptor]);
    expect(await readFile(at('out/d17/file217'))).toEqual(tenKilobytes);
    expect(await readFile(at('out/d19/file399'))).toEqual(noise(80_000, '399'));
  });

  test('a URL needs a descriptor', async () => {
    await expectFailure(['ls', server.url], 2, 'USAGE');
    expect(server.requests).toHaveLength(0);
  });
});
