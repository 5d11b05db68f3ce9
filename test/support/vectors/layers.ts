import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { zstdFrame } from '../spec-writer';

/*
 * Layers of profile "erofs-image-spec" for the vectors, right and wrong, made from the text of the draft. Shares no code with the package.
 */

export const erofs = 'application/vnd.erofs';
export const erofsZstd = 'application/vnd.erofs+zstd';
export const indexType = 'application/vnd.erofs.chunk-index.v1';
export const tar = 'application/vnd.oci.image.layer.v1.tar';
export const octets = 'application/octet-stream';

export type Annotations = Record<string, string>;

/** An entry of a manifest's layers. */
export interface VectorLayer {
  mediaType: string;
  blob: Buffer;
  annotations: Annotations;
  diffId: string;
}

export const sha256 = (bytes: Uint8Array): string => digest('sha256', bytes);
export const digest = (algorithm: string, bytes: Uint8Array): string =>
  `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;

const named = (annotations: Annotations): Annotations =>
  Object.fromEntries(Object.entries(annotations).map(([name, value]) => [`org.erofs.${name}`, value]));

/** A layer stored as it is. */
export function raw(blob: Buffer, annotations: Annotations = {}, mediaType = erofs): VectorLayer {
  return { mediaType, blob, annotations: named(annotations), diffId: sha256(blob) };
}

/** How an index is written; what is not given is as it should be. */
export interface IndexChoices {
  /** Uncompressed offsets at which chunks begin, after 0; default: every 4096 bytes. */
  borders?: readonly number[];
  hash?: 'none' | 'sha256' | 'sha512';
  magic?: readonly number[];
  version?: number;
  compression?: number;
  flags?: number;
  reserved?: number;
  /** Bytes behind the last entry. */
  more?: number;
  /** Changes the checksum of the first chunk. */
  wrongChecksum?: boolean;
  /** A frame of zeros before that of the index, though none is needed. */
  padding?: boolean;
  /** Its range annotation has no end. */
  openRange?: boolean;
  digest?: 'sha256' | 'sha512' | 'wrong' | 'none';
  mediaType?: string;
}

/** The chunks of a blob, one after the other, and the index of them. */
export function chunked(
  data: Buffer,
  zstd: boolean,
  choices: IndexChoices,
): { chunks: Buffer; index: Buffer } {
  const every = Array.from({ length: Math.ceil(data.length / 4096) }, (_, i) => i * 4096);
  const starts = choices.borders === undefined ? every : [0, ...choices.borders];
  const { hash = 'sha512' } = choices;
  const hashSize = { none: 0, sha256: 32, sha512: 64 }[hash];
  const frames = starts.map((start, i) => {
    const chunk = data.subarray(start, starts[i + 1] ?? data.length);
    return zstd ? zstdFrame(chunk) : chunk;
  });
  let offset = 0;
  const entries = frames.map((frame, i) => {
    const entry = Buffer.alloc(16);
    entry.writeBigUInt64LE(BigInt(offset), 0);
    entry.writeBigUInt64LE(BigInt(starts[i]!), 8);
    offset += frame.length;
    const sum = hashSize === 0 ? Buffer.alloc(0) : createHash(hash).update(frame).digest();
    if (choices.wrongChecksum === true && i === 0) sum[0]! ^= 1;
    return Buffer.concat([entry, sum]);
  });
  const header = Buffer.alloc(32);
  header.set(choices.magic ?? [0xcd, 0xe4, 0xec, 0x67]);
  header[4] = choices.version ?? 1;
  header[5] = choices.compression ?? (zstd ? 1 : 0);
  header.writeUInt16LE(choices.flags ?? 0, 6);
  header.writeBigUInt64LE(BigInt(data.length), 8);
  header.writeUInt32LE(frames.length, 16);
  header.set([hashSize === 0 ? 0 : 1, hashSize], 20);
  header[31] = choices.reserved ?? 0;
  const index = Buffer.concat([header, ...entries, Buffer.alloc(choices.more ?? 0)]);
  return { chunks: Buffer.concat(frames), index };
}

function skippable(payload: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(0x184d2a50, 0);
  header.writeUInt32LE(payload.length, 4);
  return Buffer.concat([header, payload]);
}

/** A layer with an index in its blob. */
export function embedded(
  data: Buffer,
  zstd: boolean,
  annotations: Annotations = {},
  choices: IndexChoices = {},
): VectorLayer {
  const { chunks, index } = chunked(data, zstd, choices);
  const gap = -chunks.length & 3;
  const isPadded = zstd && (choices.padding === true || gap > 0);
  const padding = isPadded ? skippable(Buffer.alloc(gap === 0 ? 4 : gap)) : Buffer.alloc(0);
  const start = chunks.length + padding.length;
  const blob = Buffer.concat([chunks, padding, zstd ? skippable(index) : index]);
  const { digest: algorithm = 'sha512', mediaType } = choices;
  const indexDigest =
    algorithm === 'wrong'
      ? digest('sha512', Buffer.from('other'))
      : algorithm !== 'none' && digest(algorithm, index);
  const diffId = zstd ? sha256(data) : sha256(blob);
  return {
    mediaType: zstd ? erofsZstd : erofs,
    blob,
    diffId,
    annotations: named({
      ...(zstd && { 'uncompressed-digest': diffId }),
      'chunk-index.range': choices.openRange === true ? `${start}` : `${start}:${blob.length}`,
      ...(indexDigest !== false && { 'chunk-index.digest': indexDigest }),
      ...(mediaType !== undefined && { 'chunk-index.mediaType': mediaType }),
      ...annotations,
    }),
  };
}

/** A layer, of any media type, with an index that is the next layer. */
export function standalone(
  data: Buffer,
  mediaType: string,
  annotations: Annotations = {},
  choices: IndexChoices & { target?: string | null } = {},
): [VectorLayer, VectorLayer] {
  const zstd = mediaType.endsWith('+zstd');
  const { chunks, index } = chunked(data, zstd, choices);
  const own = { ...(zstd && { 'uncompressed-digest': sha256(data) }), ...annotations };
  const { target = sha256(chunks) } = choices;
  return [
    { mediaType, blob: chunks, annotations: named(own), diffId: sha256(data) },
    {
      mediaType: indexType,
      blob: index,
      annotations: named(target === null ? {} : { 'chunk-index.target': target }),
      diffId: sha256(index),
    },
  ];
}

/** A layer that is zstd without an index. */
export function zstdOnly(data: Buffer, mediaType: string, annotations: Annotations = {}): VectorLayer {
  const diffId = sha256(data);
  const own = named({ 'uncompressed-digest': diffId, ...annotations });
  return { mediaType, blob: zstdFrame(data), annotations: own, diffId };
}

/** A layer that is gzip: one block, stored as it is. */
export function gzipped(data: Buffer, mediaType: string, annotations: Annotations = {}): VectorLayer {
  const blob = gzip(data);
  return { mediaType, blob, annotations: named(annotations), diffId: sha256(data) };
}

/** Of at most 65535 bytes. */
export function gzip(data: Buffer): Buffer {
  const header = Buffer.from('1f8b08000000000000ff', 'hex');
  const block = Buffer.from([1, 0, 0, 0, 0]);
  block.writeUInt16LE(data.length, 1);
  block.writeUInt16LE(data.length ^ 0xffff, 3);
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc32(data), 0);
  trailer.writeUInt32LE(data.length, 4);
  return Buffer.concat([header, block, data, trailer]);
}
