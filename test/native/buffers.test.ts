// The memory of JavaScript that native code gets: whatever happens to a buffer once it was passed, results are of what was passed, and
// nothing crashes. Each way of taking memory away shows in another result where native code reads it late, if it isn't a crash.
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openErofs } from '../../src/erofs/filesystem';
import { openBlob } from '../../src/layer/open-blob';
import { native } from '../../src/native/binding';
import { compressedImage } from '../erofs/compressed/golden';
import { MemorySource } from '../support/memory-source';
import { goldenBlob } from '../support/sealed-blob';

interface Resizable extends ArrayBuffer {
  resize: (length: number) => void;
}
const resizable = (length: number): Resizable =>
  new (ArrayBuffer as unknown as new (length: number, options: object) => Resizable)(length, {
    maxByteLength: 4 * length,
  });

/** Memory with these bytes, and how it is taken away. */
interface Lent {
  bytes: Buffer;
  take: () => void;
}

const ways: Record<string, (content: Uint8Array) => Lent> = {
  overwritten: (content) => {
    const bytes = Buffer.from(content);
    return { bytes, take: () => bytes.fill(0xee) };
  },
  'resized to nothing': (content) => {
    const memory = resizable(content.length);
    const bytes = Buffer.from(memory);
    bytes.set(content);
    return {
      bytes,
      take: () => {
        memory.resize(0);
      },
    };
  },
  'resized, and grown again': (content) => {
    const memory = resizable(content.length);
    const bytes = Buffer.from(memory, 0, content.length);
    bytes.set(content);
    return {
      bytes,
      take: () => {
        memory.resize(0);
        memory.resize(4 * content.length);
      },
    };
  },
  transferred: (content) => {
    const bytes = Buffer.from(new Uint8Array(content).buffer);
    return {
      bytes,
      take: () => new Uint8Array(structuredClone(bytes.buffer, { transfer: [bytes.buffer] })).fill(0xee),
    };
  },
  'shared, and overwritten': (content) => {
    const bytes = Buffer.from(new SharedArrayBuffer(content.length));
    bytes.set(content);
    return { bytes, take: () => bytes.fill(0xee) };
  },
};

let folder: string;
let fd: number;
const content = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => i % 251));
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'buffers-'));
  writeFileSync(join(folder, 'file'), content);
  fd = openSync(join(folder, 'file'), 'r');
});
afterAll(() => {
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

const file = () => new native.Source({ fd, offset: 0, size: content.length, name: 'file' });

/** Takes what it gave away again, as soon as the one who asked had the chance to pass it on. */
class LendingSource extends MemorySource {
  constructor(
    bytes: Buffer,
    private readonly lend: (content: Uint8Array) => Lent,
  ) {
    super(bytes);
  }

  override async read(offset: number, length: number): Promise<Buffer> {
    const { bytes, take } = this.lend(await super.read(offset, length));
    setImmediate(take);
    return bytes;
  }
}

/** A frame of the reference, and what it decodes to. */
function goldenFrame() {
  const { blob, image, inspect } = goldenBlob('mib.c65536.v4096');
  const { offset, end, sha512 } = inspect.entries[1]!;
  const start = inspect.chunk_size;
  return {
    frame: blob.subarray(offset, end),
    chunk: image.subarray(start, 2 * start),
    checksum: Buffer.from(sha512, 'hex'),
  };
}

describe.each(Object.entries(ways))('a buffer that is %s while native code works', (_, lend) => {
  it('decodeFrame', async () => {
    const { frame, chunk, checksum } = goldenFrame();
    const [lentFrame, lentChecksum] = [lend(frame), lend(checksum)];
    const options = { length: chunk.length, compression: 'zstd', name: 'frame' } as const;
    const decoded = native.decodeFrame(lentFrame.bytes, { ...options, checksum: lentChecksum.bytes });
    lentFrame.take();
    lentChecksum.take();
    expect((await decoded).equals(chunk)).toBe(true);
  });

  it('decompressZstd', async () => {
    const { frame, chunk } = goldenFrame();
    const { bytes, take } = lend(frame);
    const decoded = native.decompressZstd(bytes, { length: 1000, whole: false, name: 'frame' });
    take();
    expect((await decoded).equals(chunk.subarray(0, 1000))).toBe(true);
  });

  it('compareBytes', async () => {
    const pieces = [lend(content.subarray(0, 100_000)), lend(content.subarray(100_000))];
    const array = pieces.map(({ bytes }) => bytes);
    const compared = native.compareBytes(file(), Float64Array.of(0, 100_000), array);
    for (const { take } of pieces) take();
    array.length = 0;
    expect([...(await compared)]).toEqual([-1, -1]);
  });

  it('verityTree: the salt', async () => {
    const shape = { algorithm: 'sha256', dataBlockSize: 4096, hashBlockSize: 4096 } as const;
    const resources = { threads: 1, tmpDir: folder };
    const rootOf = async (salt: Lent, options: object): Promise<Buffer> => {
      const parameters = { ...shape, salt: salt.bytes, ...options };
      const built = native.verityTree(file(), parameters, resources, new native.Job());
      salt.take();
      return (await built).root;
    };
    const salt = Buffer.alloc(32, 'salt');
    const root = await rootOf({ bytes: salt, take: () => undefined }, {});
    expect((await rootOf(lend(salt), {})).equals(root)).toBe(true);
  });

  it('TreeWriter: names, numbers and contents', async () => {
    const out = mkdtempSync(join(folder, 'tree-'));
    const root = openSync(out, 'r');
    const writer = new native.TreeWriter({ fd: root, name: out }, { replace: false, owners: false });
    const [text, data] = [lend(Buffer.from('name')), lend(content)];
    // A file of one piece, in the order of `EntryColumns`.
    const entry = [0, 4, 0, 0o644, 0, 0, 0, 0, 0, 0, content.length, 1, 1, 0, 1, -1, 0, 0, 0];
    const numbers = lend(Buffer.from(Float64Array.from(entry).buffer));
    const { buffer, byteOffset } = numbers.bytes;
    const parcel = {
      numbers: new Float64Array(buffer, byteOffset, entry.length),
      text: text.bytes,
      sources: [],
      buffers: [data.bytes],
    };
    const written = writer.write(parcel, new native.Job());
    for (const lent of [text, numbers, data]) lent.take();
    await written;
    closeSync(root);
    expect(readFileSync(join(out, 'name')).equals(content)).toBe(true);
  });

  it('concatenate', async () => {
    const { bytes, take } = lend(content);
    const joined = native.concatenate([bytes, file()]);
    take();
    const read = await joined.read(0, joined.size);
    expect(read.equals(Buffer.concat([content, content]))).toBe(true);
  });

  it('a source of a blob', async () => {
    const { blob: bytes, image, descriptor } = goldenBlob('mib.c65536.v4096');
    const blob = await openBlob(new LendingSource(bytes, lend), { descriptor });
    expect((await blob.read(0, image.length)).equals(image)).toBe(true);
    await blob.close();
  });

  // Metadata that was taken away is another program's fault, which may show as any error: but never as a crash.
  it.each(['deflate', 'zstd', 'lz4', 'lzma'])('a source of a compressed image: %s', async (name) => {
    const image = await openErofs(new LendingSource(compressedImage(name), lend)).catch(() => null);
    if (image === null) return;
    const read = async (): Promise<void> => {
      for await (const { path, inode } of image.walk()) {
        if (inode.type === 'file') await image.readFile(path).catch(() => undefined);
      }
    };
    await read().catch(() => undefined);
  });
});

describe('a buffer without its memory', () => {
  const { frame, checksum } = goldenFrame();
  const options = { length: 10, compression: 'zstd', checksum, name: 'frame' } as const;
  const withoutMemory: [string, () => Uint8Array][] = [
    [
      'detached',
      () => {
        const { bytes, take } = ways['transferred']!(frame);
        take();
        return bytes;
      },
    ],
    [
      'out of bounds',
      () => {
        const memory = resizable(frame.length);
        const bytes = new Uint8Array(memory, 100, 200);
        memory.resize(10);
        return bytes;
      },
    ],
    [
      'following the length',
      () => {
        const memory = resizable(frame.length);
        const bytes = new Uint8Array(memory, 100);
        memory.resize(110);
        return bytes;
      },
    ],
  ];

  it.each(withoutMemory)('is as long as it still is: %s', async (_, make) => {
    await expect(native.decodeFrame(make(), options)).rejects.toMatchObject({ code: 'MISMATCH' });
    const joined = native.concatenate([make()]);
    expect(joined.size).toBe(make().byteLength);
    await joined.read(0, joined.size);
    const out = openSync(join(folder, 'sink'), 'w');
    const sink = new native.BlobSink(out, 'sink');
    sink.append(make());
    expect(sink.finish().size).toBe(make().byteLength);
    closeSync(out);
  });

  it('may get lost in a getter of the options', async () => {
    const { bytes, take } = ways['resized to nothing']!(frame);
    const trap = {
      ...options,
      get name() {
        take();
        return 'frame';
      },
    };
    await expect(native.decodeFrame(bytes, trap)).rejects.toMatchObject({ code: 'MISMATCH' });
    const input = ways['resized to nothing']!(frame);
    const prefix = {
      length: 10, whole: false,
      get name() {
        input.take();
        return 'frame';
      },
    };
    await expect(native.decompressZstd(input.bytes, prefix)).rejects.toMatchObject({ code: 'CORRUPT' });
  });

  it('that was never there: nothing decodes to nothing', async () => {
    const { blob, descriptor } = goldenBlob('mib.c65536.v4096');
    const opened = await openBlob(new MemorySource(blob), { descriptor });
    expect(await opened.read(0, 0)).toHaveLength(0);
    await opened.close();
  });
});
