import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { containerdAnnotations, specAnnotations } from '../../src/format/annotations';
import { digestBytes, digestOf } from '../../src/format/digest';
import { decodeTo } from '../../src/layer/decode';
import { openBlob } from '../../src/layer/open-blob';
import { openSeekable, type SeekableBlob } from '../../src/layer/seekable';
import { openFileSource } from '../../src/source/file';
import type { SealedBlob } from '../support/sealed-blob';
import { MemorySource } from '../support/memory-source';
import { attempt, type Target } from './case';
import { mutate, type Range } from './mutate';
import type { Random } from './random';

const maxOfRead = 256 << 10; // bytes
const digestNames: readonly string[] = [containerdAnnotations.tableDigest, specAnnotations.indexDigest];
const numberNames = [
  containerdAnnotations.tableOffset,
  containerdAnnotations.verityOffset,
  specAnnotations.indexRange,
];

/** The descriptor is JSON; empty: there is none, and the blob is read as it is. */
type BlobFiles = Record<'blob' | 'descriptor', Buffer>;

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  annotations: Record<string, string>;
}

/** A seekable blob that is damaged, and vouched for by a descriptor all the same: else nothing of it would be parsed. */
export class BlobTarget implements Target {
  /** One that the chunk index does not contradict. */
  private readonly mediaType: string;
  /** Goes with the worker's folder for temporary files. */
  private readonly folder = mkdtempSync(join(tmpdir(), 'fuzz-blob-'));

  private constructor(
    readonly name: string,
    private readonly sealed: SealedBlob,
    private readonly layout: SeekableBlob,
  ) {
    const { compression } = layout.section.frames;
    this.mediaType = `application/vnd.erofs.layer.v1${compression === 'zstd' ? '+zstd' : ''}`;
  }

  static async create(name: string, sealed: SealedBlob): Promise<BlobTarget> {
    const { blob, descriptor } = sealed;
    return new BlobTarget(name, sealed, await openSeekable(new MemorySource(blob), { descriptor }));
  }

  files(random: Random | null): BlobFiles {
    const { blob, descriptor } = this.sealed;
    const { mediaType } = this;
    if (random === null) return { blob, descriptor: serialize({ mediaType, ...descriptor }) };
    const damaged = mutate(random, blob, this.hotRanges());
    if (random.chance(0.6)) this.fixChecksums(damaged);
    return { blob: damaged, descriptor: this.describe(random, damaged) };
  }

  async run({ blob, descriptor }: BlobFiles, random: Random): Promise<void> {
    const trust = {
      allowUnverified: true,
      onWarning: () => undefined,
      descriptor: descriptor.length === 0 ? undefined : (JSON.parse(descriptor.toString()) as Descriptor),
    };
    const options = { ...trust, threads: 1, tmpDir: this.folder };
    await attempt(() => readSome(blob, trust, random));
    const path = join(this.folder, 'blob');
    writeFileSync(path, blob);
    const file = await openFileSource(path);
    try {
      await attempt(async () => decodeTo(file, await openSeekable(file, options), null, options));
    } finally {
      await file.close();
    }
  }

  /** The table several times, since everything hangs on it; beginnings of frames; the superblock of the tree. */
  private hotRanges(): Range[] {
    const { section, tree } = this.layout;
    const table = { start: section.offset, end: section.end };
    const header = { start: section.offset, end: section.offset + 48 };
    const frames = [...section.frames.offsets].map((offset) => ({ start: offset, end: offset + 18 }));
    const hot = [table, table, header, header, ...frames.slice(0, 4)];
    if (tree?.location === 'blob') hot.push({ start: tree.offset, end: tree.offset + 128 });
    return hot.filter(({ start }) => start < this.sealed.blob.length);
  }

  /** Makes the frames' checksums right again, where the table is still in its place. */
  private fixChecksums(blob: Buffer): void {
    const { profile, section } = this.layout;
    const { offsets, checksumSize } = section.frames;
    const stride = checksumSize + (profile === 'containerd' ? 8 : 16);
    const count = offsets.length - 1;
    const first = section.end - count * stride;
    for (let index = 0; index < count; index++) {
      const frame = blob.subarray(offsets[index], offsets[index + 1]);
      const at = first + (index + 1) * stride - checksumSize;
      if (checksumSize === 64) digestBytes(digestOf(frame, 'sha512')).copy(blob, at);
    }
  }

  private describe(random: Random, blob: Buffer): Buffer {
    if (random.chance(0.25)) return Buffer.alloc(0);
    const { annotations: promised } = this.sealed.descriptor;
    const { section, profile } = this.layout;
    const framed = profile === 'containerd' || section.frames.compression === 'zstd' ? 8 : 0;
    const digest = digestOf(blob.subarray(section.offset + framed, section.end), 'sha512');
    const isVouched = random.chance(0.5);
    const annotations: Record<string, string> = {};
    for (const [name, value] of Object.entries(promised)) {
      if (!digestNames.includes(name)) annotations[name] = value;
      else if (isVouched) annotations[name] = digest;
    }
    for (const name of numberNames) {
      if (annotations[name] !== undefined && random.chance(0.05)) {
        annotations[name] = random.pick([
          '0',
          '1',
          '4294967295',
          '9007199254740991',
          '0:1',
          `${blob.length}`,
        ]);
      }
    }
    return serialize({ mediaType: this.mediaType, digest: digestOf(blob), size: blob.length, annotations });
  }
}

function serialize(descriptor: Descriptor): Buffer {
  return Buffer.from(JSON.stringify(descriptor, null, 1));
}

async function readSome(
  blob: Buffer,
  options: Parameters<typeof openBlob>[1],
  random: Random,
): Promise<void> {
  const reader = await openBlob(new MemorySource(blob), options);
  try {
    for (let count = 0; count < 4; count++) {
      const offset = random.below(reader.size);
      const length = Math.min(reader.size - offset, 1 + random.below(maxOfRead));
      const bytes = await attempt(() => reader.read(offset, length));
      if (bytes !== undefined && bytes.length !== length)
        throw new Error(`${bytes.length} of ${length} bytes`);
    }
  } finally {
    await reader.close();
  }
}
