import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { MountResult } from '../../src/index';
import { documentOf } from '../e2e/run-cli';
import { at, folder } from '../e2e/workspace';
import { tarBytes, type TarEntryBytes } from '../support/tar-bytes';
import { LayoutBuilder } from './support/image';
import { processesOf, proxy, umount, useLazyMounts, whyNoLazyMounts } from './support/lazily';
import { titleOf } from './support/machine';
import { state, support } from './support/mounting';

// The claim: the lazy server takes at most 200 MiB, however much is read at once, and 100 MiB more for chunks of more than 16 MiB.

const reason = whyNoLazyMounts();
useLazyMounts(reason !== null);

const mebibyte = 1 << 20;
const limit = 200 * mebibyte;
/** Frames of such chunks need a window of 128 MiB, as the largest that there are. */
const largeLimit = 300 * mebibyte;

/** A file whose data compresses to half, as most does. */
interface Noise {
  name: string;
  content: string;
  digest: string;
}

function noise(name: string, bytes: number): Noise {
  const content = randomBytes(bytes / 2).toString('hex');
  return { name, content, digest: createHash('sha256').update(content).digest('hex') };
}

/** Pushes an image with a layer for each group of files, and mounts it. */
async function mountImageOf(groups: Noise[][], flags: string[], mountFlags: string[]): Promise<void> {
  const builder = new LayoutBuilder(at('tars'));
  const layers = groups.map((files): TarEntryBytes[] => [{ name: './', type: '5', mode: 0o755 }, ...files]);
  builder.name(builder.image(layers.map((entries) => builder.tarLayer(tarBytes(entries)))));
  const reference = `docker://${proxy.host}/image:${folder.split('/').at(-1)}`;
  await documentOf(['convert', `oci:${at('tars')}:image`, reference, ...flags]);
  const options = ['--lazy', '--verity', 'off', '--state', state, ...mountFlags];
  await documentOf(['mount', reference, at('target'), ...options]);
}

/** Reads all files by so many readers, each in an order of its own. */
async function readBy(readers: number, files: readonly Noise[]): Promise<void> {
  const child = spawn('python3', [join(support, 'many_readers.py'), `${readers}`], {
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  child.stdin.end(files.map(({ name, digest }) => `${digest} ${join(at('target'), name)}\n`).join(''));
  expect((await once(child, 'exit'))[0]).toBe(0);
}

/** The most memory that the server ever had, in bytes. */
function peakMemory(): number {
  const [pid] = processesOf('server-main');
  const [, kibibytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!;
  return Number(kibibytes) * 1024;
}

async function untilComplete(): Promise<void> {
  const counts = async () => {
    const [mount] = await documentOf<MountResult[]>(['mounts', '--state', state]);
    return mount!.layers.map(({ lazy }) => lazy!.chunks - lazy!.present);
  };
  while ((await counts()).some((missing) => missing > 0)) await sleep(500);
}

describe.skipIf(reason !== null)(titleOf('memory of the lazy server', reason), () => {
  test('20 layers, 64 readers, then the background', async () => {
    const groups = Array.from({ length: 20 }, (_, i) =>
      [0, 1].map((part) => noise(`${i}-${part}`, 4 * mebibyte)),
    );
    await mountImageOf(groups, [], ['--background', 'auto']);
    await readBy(
      64,
      groups.map((files) => files[0]!),
    );
    await untilComplete();
    expect(peakMemory()).toBeLessThan(limit);
    execFileSync('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);
    await readBy(1, groups.flat());
    await umount();
  });

  test('chunks of 128 MiB', async () => {
    const files = Array.from({ length: 5 }, (_, i) => noise(`${i}`, 32 * mebibyte));
    await mountImageOf([files], ['--chunk-size', '128MiB'], ['--background', 'off']);
    await readBy(4, files);
    expect(peakMemory()).toBeLessThan(largeLimit);
    await umount();
  });
});
