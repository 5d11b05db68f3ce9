import { serializeChunkIndex } from '../../src/format/chunk-index';
import { writeSpecAnnotations } from '../../src/format/annotations';
import { parseChunkTable } from '../../src/format/chunk-table';
import { digestBytes, digestOf } from '../../src/format/digest';
import { serializeSkippableHeader } from '../../src/format/skippable-frame';
import { goodBlobs, readGolden, type GoodBlob } from './golden';

/** A blob, its image, and what a descriptor says of it. */
export interface SealedBlob {
  blob: Buffer;
  image: Buffer;
  descriptor: { digest: string; size: number; annotations: Record<string, string> };
}

/** A blob of the reference, by its name. */
export function goldenBlob(name: string): SealedBlob & { inspect: GoodBlob['inspect'] } {
  const good = goodBlobs().find((entry) => entry.name === name)!;
  const blob = readGolden(good.blob);
  const imageName = name.split('.')[0]!;
  const suffix = imageName.startsWith('odd') || imageName === 'empty' ? 'bin' : 'erofs';
  const image = readGolden(`images/${imageName}.${suffix}`);
  const descriptor = { digest: digestOf(blob), size: blob.length, annotations: good.annotations };
  return { blob, image, descriptor, inspect: good.inspect };
}

/** The frames of a blob of the reference, under a chunk index of the other profile. */
export function specBlob(name: string): SealedBlob {
  const { blob, image, inspect } = goldenBlob(name);
  const { table_offset: end, table_payload_size: size, chunk_size: chunkSize } = inspect;
  const table = parseChunkTable(blob.subarray(end + 8, end + 8 + size), end);
  const starts = Float64Array.from(table.offsets, (_, i) => Math.min(i * chunkSize, image.length));
  const { offsets, checksums } = table;
  const index = { uncompressedSize: image.length, compression: 'zstd', offsets, starts, checksums } as const;
  return seal(blob.subarray(0, end), image, { ...index, checksumSize: 64 });
}

/** An image as it is, in chunks of `chunkSize` bytes, with a chunk index behind it. */
export function rawSpecBlob(image: Buffer, chunkSize: number): SealedBlob {
  const chunks = Math.ceil(image.length / chunkSize);
  const starts = Float64Array.from({ length: chunks + 1 }, (_, i) => Math.min(i * chunkSize, image.length));
  const checksums = Buffer.concat(
    Array.from({ length: chunks }, (_, i) =>
      digestBytes(digestOf(image.subarray(starts[i], starts[i + 1]), 'sha512')),
    ),
  );
  const index = { uncompressedSize: image.length, compression: 'none', offsets: starts, starts } as const;
  return seal(image, image, { ...index, checksums, checksumSize: 64 });
}

function seal(data: Buffer, image: Buffer, index: Parameters<typeof serializeChunkIndex>[0]): SealedBlob {
  const payload = serializeChunkIndex(index);
  const header = index.compression === 'none' ? Buffer.alloc(0) : serializeSkippableHeader(payload.length);
  const blob = Buffer.concat([data, header, payload]);
  const annotations = writeSpecAnnotations({
    indexStart: data.length,
    indexEnd: blob.length,
    indexDigest: digestOf(payload, 'sha512'),
  });
  return { blob, image, descriptor: { digest: digestOf(blob), size: blob.length, annotations } };
}
