import { describe, expect, it } from 'vitest';

import { serializeChunkIndex } from '../../src/format/chunk-index';
import { serializeChunkTable } from '../../src/format/chunk-table';
import { serializeSkippableHeader } from '../../src/format/skippable-frame';
import { findTableFrame, frameEnd } from '../../src/layer/frame-walk';
import { goodBlobs, readGolden } from '../support/golden';
import { MemorySource } from '../support/memory-source';
import { refusal } from '../support/refusal';

/** A frame of raw blocks with these sizes, with a checksum of zeros. */
function rawFrame(sizes: number[]): Buffer {
  const blocks = sizes.flatMap((size, i) => {
    const header = Buffer.alloc(3);
    header.writeUIntLE((size << 3) | (i === sizes.length - 1 ? 1 : 0), 0, 3);
    return [header, Buffer.alloc(size)];
  });
  // Window of 1 MiB.
  return Buffer.concat([Buffer.from('28b52ffd0450', 'hex'), ...blocks, Buffer.alloc(4)]);
}

function skippable(payload: Buffer): Buffer {
  return Buffer.concat([serializeSkippableHeader(payload.length), payload]);
}

const emptyTable = serializeChunkTable({
  version: 1,
  uncompressedSize: 0,
  chunkSize: 4096,
  hashAlgorithm: 'none',
  offsets: Float64Array.of(0),
  checksums: new Uint8Array(),
  checksumSize: 0,
});
const indexOfNothing = serializeChunkIndex({
  uncompressedSize: 0,
  compression: 'zstd',
  offsets: Float64Array.of(0),
  starts: Float64Array.of(0),
  checksums: new Uint8Array(),
  checksumSize: 0,
});

describe('frame walk', () => {
  it.each(goodBlobs())('finds table and frames of the reference’s $name', async ({ blob, inspect }) => {
    const source = new MemorySource(readGolden(blob));
    expect(await findTableFrame(source)).toEqual({
      offset: inspect.table_offset,
      payloadSize: inspect.table_payload_size,
      profile: 'containerd',
    });
    for (const { offset, end } of inspect.entries) {
      expect(await frameEnd(source, offset, inspect.table_offset)).toBe(end);
    }
  });

  it('passes other skippable frames, and tells both profiles', async () => {
    const others = [
      skippable(Buffer.alloc(0)),
      rawFrame([10, 0, 20]),
      skippable(Buffer.from('abc')),
      skippable(Buffer.alloc(500)),
    ];
    for (const [payload, profile] of [
      [emptyTable, 'containerd'],
      [indexOfNothing, 'erofs-image-spec'],
    ] as const) {
      const blob = Buffer.concat([...others, skippable(payload), skippable(emptyTable)]);
      const offset = Buffer.concat(others).length;
      expect(await findTableFrame(new MemorySource(blob))).toEqual({
        offset,
        payloadSize: payload.length,
        profile,
      });
    }
  });

  it('finds none in a blob without one', async () => {
    for (const blob of [
      Buffer.alloc(0),
      rawFrame([9]),
      Buffer.concat([rawFrame([9]), skippable(Buffer.alloc(9))]),
    ]) {
      expect(await findTableFrame(new MemorySource(blob))).toBeNull();
    }
  });

  it('refuses every blob that is cut short', async () => {
    const blob = Buffer.concat([rawFrame([5, 7]), skippable(emptyTable)]);
    for (let length = 1; length < blob.length; length++) {
      const walk = findTableFrame(new MemorySource(blob.subarray(0, length)));
      if (length === rawFrame([5, 7]).length) expect(await walk).toBeNull();
      else await expect(walk).rejects.toThrow(refusal('CORRUPT', 'memory, zstd frame at offset'));
    }
  });

  it('refuses what is no frame', async () => {
    const source = new MemorySource(Buffer.concat([rawFrame([1]), Buffer.from('garbage, really')]));
    await expect(findTableFrame(source)).rejects.toThrow(
      refusal('CORRUPT', `offset ${rawFrame([1]).length}: magic`),
    );
    await expect(frameEnd(source, 1, source.size)).rejects.toThrow(refusal('CORRUPT', 'magic'));
  });

  it('keeps a frame before its limit', async () => {
    const frame = rawFrame([100]);
    const source = new MemorySource(Buffer.concat([frame, frame]));
    expect(await frameEnd(source, 0, frame.length)).toBe(frame.length);
    expect(await frameEnd(source, frame.length, source.size)).toBe(source.size);
    for (const limit of [0, 3, 7, 50, frame.length - 1]) {
      await expect(frameEnd(source, 0, limit)).rejects.toThrow(refusal('CORRUPT', 'zstd frame at offset 0'));
    }
  });

  it('reads little of large blocks', async () => {
    const source = new MemorySource(rawFrame(new Array<number>(64).fill(131_072)));
    expect(await frameEnd(source, 0, source.size)).toBe(source.size);
    expect(source.bytesRead).toBeLessThan(source.size / 16);
  });

  it('reads small blocks in few reads, and once', async () => {
    const source = new MemorySource(rawFrame(new Array<number>(200_000).fill(0)));
    expect(await frameEnd(source, 0, source.size)).toBe(source.size);
    expect(source.reads).toBeLessThan(source.size / 60_000);
    expect(source.bytesRead).toBeLessThan(source.size * 1.01);
  });

  it('never reads much more than there is, whatever the size of blocks', async () => {
    for (const size of [3000, 30_000, 60_000, 66_000]) {
      const source = new MemorySource(rawFrame(new Array<number>(100).fill(size)));
      expect(await frameEnd(source, 0, source.size)).toBe(source.size);
      expect(source.bytesRead).toBeLessThan(source.size * 1.3);
    }
  });

  it('stops for a signal', async () => {
    const source = new MemorySource(rawFrame([1]));
    await expect(findTableFrame(source, AbortSignal.abort())).rejects.toThrow('abort');
  });
});
