import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { openBlob } from '../../src/layer/open-blob';
import { native } from '../../src/native/binding';
import { MemorySource } from '../support/memory-source';
import { goodBlobs } from '../support/golden';
import { caught } from '../support/caught';
import { RecordingSource } from '../support/recording-source';
import { refusal } from '../support/refusal';
import { goldenBlob, rawSpecBlob, specBlob } from '../support/sealed-blob';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'open-blob-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** About 1 MiB in chunks of 64 KiB. */
const mib = goldenBlob('mib.c65536.v4096');
const chunkSize = mib.inspect.chunk_size;
const { entries } = mib.inspect;

/** As text, the bytes of the frames from `first` to `last`. */
function frames(first: number, last = first): string {
  return `${entries[first]!.offset}-${entries[last]!.end - 1}`;
}

async function openRecording(options: Parameters<typeof openBlob>[1] = {}) {
  const source = new RecordingSource(mib.blob);
  const blob = await openBlob(source, { descriptor: mib.descriptor, ...options });
  source.ranges = [];
  source.signals = [];
  return { source, blob };
}

describe('openBlob', () => {
  it.each(goodBlobs().map(({ name }) => name))('reads all of the reference’s %s', async (name) => {
    const { blob: bytes, image, descriptor, inspect } = goldenBlob(name);
    const blob = await openBlob(new MemorySource(bytes), { descriptor });
    expect(blob).toMatchObject({ size: image.length, profile: 'containerd', name: 'memory' });
    expect(blob.tree === null).toBe(inspect.verity === undefined);
    expect(blob.section.digest).toBe(inspect.table_digest);
    expect((await blob.read(0, image.length)).equals(image)).toBe(true);
    await blob.close();
  });

  it.each([
    ['zstd frames', specBlob('mib.c65536.v4096')],
    ['raw chunks', rawSpecBlob(mib.image, chunkSize)],
  ])('reads the other profile: %s', async (_, { blob: bytes, image, descriptor }) => {
    const blob = await openBlob(new MemorySource(bytes), { descriptor });
    expect(blob).toMatchObject({ size: image.length, profile: 'erofs-image-spec', tree: null });
    for (const [offset, length] of [
      [0, image.length],
      [chunkSize - 1, 2],
      [5 * chunkSize, chunkSize],
      [image.length - 1, 1],
    ] as const) {
      const bytesRead = await blob.read(offset, length);
      expect(bytesRead.equals(image.subarray(offset, offset + length))).toBe(true);
    }
    await blob.close();
  });

  it('reads any part, and nothing outside', async () => {
    const { blob } = await openRecording({ cacheBytes: 3 * chunkSize });
    let seed = 1;
    const random = (limit: number) => (seed = (seed * 48_271) % 0x7fffffff) % limit;
    for (let i = 0; i < 300; i++) {
      const offset = random(blob.size);
      const length = random(Math.min(blob.size - offset, i % 3 === 0 ? 300_000 : 5000) + 1);
      const bytes = await blob.read(offset, length);
      expect(bytes.equals(mib.image.subarray(offset, offset + length)), `${offset} ${length}`).toBe(true);
    }
    for (const [offset, length] of [
      [blob.size, 1],
      [-1, 1],
      [0, -1],
      [0.5, 1],
      [0, 2 ** 52],
    ] as const) {
      await expect(blob.read(offset, length)).rejects.toThrow(refusal('CORRUPT', 'not inside'));
    }
    expect(await blob.read(blob.size, 0)).toHaveLength(0);
    await blob.close();
  });

  it('copies nothing for a read within a chunk', async () => {
    const { blob } = await openRecording();
    const [one, two] = [await blob.read(100, 4096), await blob.read(200, 4096)];
    expect(two.buffer).toBe(one.buffer);
    await blob.close();
  });

  it('fetches only the frames it needs, and neighbours in one read', async () => {
    const { source, blob } = await openRecording();
    await blob.read(3 * chunkSize + 7, 100);
    expect(source.ranges.splice(0)).toEqual([frames(3)]);
    await blob.read(3 * chunkSize, chunkSize);
    expect(source.ranges).toEqual([]);
    await blob.read(2 * chunkSize - 1, 5 * chunkSize);
    expect(source.ranges.splice(0)).toEqual([frames(1, 2), frames(4, 6)]);
    // Readers that ask at the same time, in any order.
    await Promise.all([12, 9, 11, 10, 14].map((chunk) => blob.read(chunk * chunkSize, 10)));
    expect(source.ranges).toEqual([frames(9, 12), frames(14)]);
    await blob.close();
  });

  it('joins up to 16 MiB', async () => {
    const mebi = 1 << 20;
    const { blob: bytes, descriptor, image } = rawSpecBlob(Buffer.alloc(35 * mebi, 'big'), 5 * mebi);
    const source = new RecordingSource(bytes);
    const blob = await openBlob(source, { descriptor });
    source.ranges = [];
    expect((await blob.read(0, image.length)).equals(image)).toBe(true);
    expect(source.ranges).toEqual([
      `0-${15 * mebi - 1}`,
      `${15 * mebi}-${30 * mebi - 1}`,
      `${30 * mebi}-${35 * mebi - 1}`,
    ]);
    await blob.close();
  });

  it('opens with few reads where each is a round trip', async () => {
    const source = new RecordingSource(mib.blob);
    await openBlob(source, { descriptor: mib.descriptor });
    expect(source.ranges).toHaveLength(1);
  });
});

describe('single flight', () => {
  it('serves ten readers of one chunk with one fetch and one decode', async () => {
    const { source, blob } = await openRecording();
    const decodeFrame = vi.spyOn(native, 'decodeFrame');
    const reads = Array.from({ length: 10 }, (_, i) => blob.read(5 * chunkSize + i, 4096));
    const late = new Promise((resolve) => setImmediate(resolve)).then(() => blob.read(5 * chunkSize, 10));
    const results = await Promise.all([...reads, late]);
    expect(source.ranges).toEqual([frames(5)]);
    expect(decodeFrame).toHaveBeenCalledOnce();
    decodeFrame.mockRestore();
    for (const [i, bytes] of results.slice(0, 10).entries()) {
      expect(bytes.equals(mib.image.subarray(5 * chunkSize + i, 5 * chunkSize + i + 4096))).toBe(true);
    }
    await blob.close();
  });

  it('goes on when one of its readers gives up', async () => {
    const { source, blob } = await openRecording();
    const gate = gated(source);
    const controller = new AbortController();
    const quitter = caught(() => blob.read(0, 10, controller.signal));
    const patient = blob.read(0, 10);
    await vi.waitFor(() => {
      expect(source.ranges).toHaveLength(1);
    });
    controller.abort();
    expect(await quitter).toMatchObject({ code: 'CANCELLED', what: 'memory' });
    expect(source.signals[0]!.aborted).toBe(false);
    gate.open();
    expect((await patient).equals(mib.image.subarray(0, 10))).toBe(true);
    expect(source.ranges).toEqual([frames(0)]);
    await blob.close();
  });

  it('ends when all of its readers have given up, and begins anew for the next', async () => {
    const { source, blob } = await openRecording();
    const gate = gated(source);
    const controllers = [new AbortController(), new AbortController()];
    // Two frames of one joint read.
    const quitters = controllers.map(({ signal }, i) => caught(() => blob.read(i * chunkSize, 10, signal)));
    await vi.waitFor(() => {
      expect(source.ranges).toEqual([frames(0, 1)]);
    });
    controllers[0]!.abort();
    expect((await quitters[0]!).code).toBe('CANCELLED');
    expect(source.signals[0]!.aborted).toBe(false);
    controllers[1]!.abort();
    expect((await quitters[1]!).code).toBe('CANCELLED');
    expect(source.signals[0]!.aborted).toBe(true);
    const next = blob.read(0, 10);
    gate.open();
    expect((await next).equals(mib.image.subarray(0, 10))).toBe(true);
    await blob.close();
  });

  it('does not make Node warn of a leak when many chunks are waited for under one signal', async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on('warning', onWarning);
    const { blob } = await openRecording();
    const { signal } = new AbortController();
    expect(entries.length).toBeGreaterThan(10);
    await Promise.all([blob.read(0, blob.size, signal), blob.read(0, blob.size, signal)]);
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', onWarning);
    expect(warnings).toEqual([]);
    await blob.close();
  });

  it('fetches nothing for a signal that is aborted already', async () => {
    const { source, blob } = await openRecording();
    await expect(blob.read(0, 10, AbortSignal.abort())).rejects.toThrow(refusal('CANCELLED'));
    await new Promise((resolve) => setImmediate(resolve));
    expect(source.ranges).toEqual([]);
    await blob.close();
  });

  it('ends with close(), which closes the source', async () => {
    const { source, blob } = await openRecording();
    const gate = gated(source);
    const reading = caught(() => blob.read(0, 10));
    await vi.waitFor(() => {
      expect(source.ranges).toHaveLength(1);
    });
    const closing = blob.close();
    expect(source.closed).toBe(0);
    gate.open();
    await closing;
    expect((await reading).code).toBe('CANCELLED');
    expect(source.closed).toBe(1);
    await expect(blob.read(0, 10)).rejects.toThrow(refusal('USAGE', 'closed'));
  });

  it('forgets a failure', async () => {
    const { source, blob } = await openRecording();
    const read = vi.spyOn(source, 'read').mockRejectedValueOnce(new Error('the cable'));
    await expect(Promise.all([blob.read(0, 10), blob.read(9, 10)])).rejects.toThrow('the cable');
    expect(await blob.read(0, 10)).toHaveLength(10);
    expect(read).toHaveBeenCalledTimes(2);
    await blob.close();
  });
});

function gated(source: RecordingSource): { open: () => void } {
  let open = (): void => undefined;
  source.gate = new Promise((resolve) => (open = resolve));
  return {
    open: () => {
      open();
    },
  };
}

describe('a blob in a file', () => {
  const open = (bytes: Buffer) => {
    const path = join(folder, 'file.blob');
    writeFileSync(path, bytes);
    return openBlob(path, { descriptor: mib.descriptor });
  };

  it('is read by native code: no byte of a frame gets to JavaScript', async () => {
    const blob = await open(mib.blob);
    const readFrame = vi.spyOn(native, 'readFrame');
    const length = 3 * chunkSize;
    const bytes = await blob.read(chunkSize / 2, length);
    expect(bytes.equals(mib.image.subarray(chunkSize / 2, chunkSize / 2 + length))).toBe(true);
    expect(readFrame).toHaveBeenCalledTimes(4);
    readFrame.mockRestore();
    await blob.close();
    expect(await caught(() => blob.read(0, 1))).toMatchObject({ code: 'USAGE' });
  });

  it('is refused where a frame is damaged, and only there', async () => {
    const damaged = Buffer.from(mib.blob);
    damaged[entries[4]!.offset + 20]! ^= 1;
    const blob = await open(damaged);
    const error = await caught(() => blob.read(4 * chunkSize, 1));
    expect(error).toMatchObject({ code: 'MISMATCH' });
    expect(error.message).toContain(`file.blob: frame 4 at byte ${entries[4]!.offset}`);
    expect((await blob.read(5 * chunkSize, 9)).equals(mib.image.subarray(5 * chunkSize).subarray(0, 9))).toBe(
      true,
    );
    await blob.close();
  });

  it('is refused where it was cut after it was opened', async () => {
    const blob = await open(mib.blob);
    truncateSync(join(folder, 'file.blob'), entries[6]!.offset + 1);
    expect(await caught(() => blob.read(6 * chunkSize, 1))).toMatchObject({ code: 'CORRUPT' });
    expect((await blob.read(5 * chunkSize, 1))[0]).toBe(mib.image[5 * chunkSize]);
    await blob.close();
  });
});

describe('chunks in memory', () => {
  async function refetches(cacheBytes: number, chunks: number[]): Promise<number> {
    const { source, blob } = await openRecording({ cacheBytes });
    for (const chunk of chunks) await blob.read(chunk * chunkSize, 1);
    await blob.close();
    return source.ranges.length;
  }

  it('are as many as there is room for, the last used ones', async () => {
    expect(await refetches(3 * chunkSize, [0, 1, 2, 0, 1, 2])).toBe(3);
    expect(await refetches(3 * chunkSize - 1, [0, 1, 2, 0, 1, 2])).toBe(6);
    expect(await refetches(3 * chunkSize, [0, 1, 2, 0, 3, 0, 2, 1])).toBe(5);
    expect(await refetches(0, [0, 0, 0, 1, 0])).toBe(3);
    await expect(openRecording({ cacheBytes: -1 })).rejects.toThrow(
      refusal('USAGE', '"cacheBytes" must be 0 or more'),
    );
    await expect(openRecording({ cacheDirBytes: NaN })).rejects.toThrow(
      refusal('USAGE', '"cacheDirBytes" must be a number'),
    );
  });
});

describe('frames on disk', () => {
  let cacheDir: string;
  beforeEach(() => {
    cacheDir = mkdtempSync(join(folder, 'cache-'));
  });

  function cachedFiles(): string[] {
    return readdirSync(cacheDir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
  }

  it('are used by the next run, and fetched again when damaged', async () => {
    const first = await openRecording({ cacheDir });
    await first.blob.read(0, 4 * chunkSize);
    await first.blob.close();
    expect(
      cachedFiles()
        .map((path) => path.slice(-128))
        .sort(),
    ).toEqual(
      entries
        .slice(0, 4)
        .map(({ sha512 }) => sha512)
        .sort(),
    );

    const second = await openRecording({ cacheDir });
    const bytes = await second.blob.read(chunkSize, 4 * chunkSize);
    expect(bytes.equals(mib.image.subarray(chunkSize, 5 * chunkSize))).toBe(true);
    expect(second.source.ranges).toEqual([frames(4)]);
    await second.blob.close();

    const damaged = cachedFiles().find((path) => path.endsWith(entries[2]!.sha512))!;
    const frame = readFileSync(damaged);
    writeFileSync(damaged, Buffer.from(frame).fill(0, 50, 60));
    const third = await openRecording({ cacheDir });
    expect((await third.blob.read(0, 4 * chunkSize)).equals(mib.image.subarray(0, 4 * chunkSize))).toBe(true);
    expect(third.source.ranges).toEqual([frames(2)]);
    expect(readFileSync(damaged).equals(frame)).toBe(true);
    await third.blob.close();
  });

  it('are verified ones only', async () => {
    const blob = Buffer.from(mib.blob);
    blob[entries[1]!.offset + 30]! ^= 1;
    const opened = await openBlob(new MemorySource(blob), { descriptor: mib.descriptor, cacheDir });
    await expect(opened.read(0, 3 * chunkSize)).rejects.toThrow(refusal('MISMATCH', 'frame 1 at byte'));
    await opened.close();
    expect(cachedFiles().some((path) => path.endsWith(entries[1]!.sha512))).toBe(false);
  });

  it('are bounded', async () => {
    const { blob } = await openRecording({
      cacheDir,
      cacheDirBytes: 3 * (entries[0]!.end - entries[0]!.offset),
    });
    await blob.read(0, blob.size);
    await blob.close();
    const size = cachedFiles().reduce((sum, path) => sum + readFileSync(path).length, 0);
    expect(size).toBeGreaterThan(0);
    expect(size).toBeLessThanOrEqual(3 * (entries[0]!.end - entries[0]!.offset));
  });
});
