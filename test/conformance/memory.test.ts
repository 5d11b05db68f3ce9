import { createCipheriv } from 'node:crypto';
import { closeSync, openSync, readdirSync, readlinkSync, statfsSync, statSync, writeSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { expect, test } from 'vitest';
import { runJson, type Run } from '../e2e/run-cli';
import { at, useFolders, type Encoded } from '../e2e/workspace';
import { tarHeader } from '../support/tar-bytes';
import { titleOf } from './support/machine';
import { writeSparseTar } from './support/sparse-tar';

// The claim: memory is bounded by threads and chunk size, whatever the layer's size.

useFolders();

const limit = 256 << 20;
const mebibyte = 1 << 20;
const gibibyte = 1 << 30;

const free = statfsSync(tmpdir());
const noSpace = free.bavail * free.bsize > 8 * gibibyte ? null : `needs 8 GiB in ${tmpdir()}`;

/** 2 GiB in files of 32 MiB: noise, text, and zeros, different in each. */
function writeLargeTar(path: string): void {
  const file = openSync(path, 'w');
  const size = 32 * mebibyte;
  const key = Buffer.alloc(32, 'key');
  for (let i = 0; i < 64; i++) {
    writeSync(file, tarHeader({ name: `folder/file-${i}` }, size));
    const noise = createCipheriv('aes-256-ctr', key, Buffer.alloc(16, i)).update(Buffer.alloc(size / 2));
    writeSync(file, noise);
    writeSync(file, Buffer.alloc(size / 4, `text of file ${i}, again and again\n`));
    writeSync(file, Buffer.alloc(size / 4));
  }
  writeSync(file, Buffer.alloc(1024));
  closeSync(file);
}

/** The largest unlinked file of `folder` that some process has open while `until` is pending. */
async function largestUnlinked(folder: string, until: Promise<unknown>): Promise<number> {
  let largest = 0;
  const over = until.then(
    () => true,
    () => true,
  );
  const pause = (): Promise<false> => new Promise((done) => setTimeout(done, 200, false));
  do {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
      largest = Math.max(largest, ...unlinkedSizes(`/proc/${pid}/fd`, folder));
  } while (!(await Promise.race([over, pause()])));
  return largest;
}

function unlinkedSizes(descriptors: string, folder: string): number[] {
  try {
    const paths = readdirSync(descriptors).map((fd) => `${descriptors}/${fd}`);
    return paths.map((path) => {
      const target = readlinkSync(path);
      return target.startsWith(folder) && target.endsWith(' (deleted)') ? statSync(path).size : 0;
    });
  } catch {
    return []; // the process or the descriptor went away, or is another user's
  }
}

function encode(tar: string, ...flags: string[]): Promise<Run & { document: Encoded }> {
  const args = ['encode', tar, at('blob'), '--dm-verity', '--threads', '2', '--tmp-dir', at('tmp'), ...flags];
  return runJson<Encoded>(args, { measure: true });
}

function expectBounded({ exitCode, stderr, peakMemory }: Run): void {
  expect(exitCode, stderr).toBe(0);
  expect(peakMemory).toBeGreaterThan(20 * mebibyte); // else it was not measured
  expect(peakMemory).toBeLessThanOrEqual(limit);
}

test.skipIf(noSpace !== null)(
  titleOf('2 GiB of files take at most 256 MiB', noSpace),
  { timeout: 600_000 },
  async () => {
    await mkdir(at('tmp'));
    writeLargeTar(at('layer.tar'));
    try {
      const run = await encode(at('layer.tar'));
      expectBounded(run);
      expect(run.document.uncompressedSize).toBeGreaterThan(2 * gibibyte);
      expect(run.document.size).toBeGreaterThan(gibibyte);
    } finally {
      await rm(at('layer.tar'));
    }
  },
);

test.skipIf(noSpace !== null)(
  titleOf('10 GiB take at most 256 MiB: the leaves of the tree go to a file', noSpace),
  { timeout: 600_000 },
  async () => {
    await mkdir(at('tmp'));
    writeSparseTar(at('layer.tar'), 10 * gibibyte);
    const running = encode(at('layer.tar'));
    const spilled = await largestUnlinked(at('tmp'), running);
    const run = await running;
    expectBounded(run);
    expect(run.document.uncompressedSize).toBeGreaterThan(10 * gibibyte);
    const leaves = (10 * gibibyte) / 64;
    expect(spilled).toBeGreaterThan(leaves * 0.9);
    expect(run.document.size).toBeGreaterThan(leaves);
  },
);
