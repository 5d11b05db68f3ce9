import { createHash } from 'node:crypto';

/*
 * A second writer of profile "erofs-image-spec", made from the text of docs/format/erofs-image-spec-profile.md and docs/format/verity.md
 * and nothing else. It shares no code with the package. Its zstd frames hold their bytes uncompressed, which any zstd may.
 */

export interface SpecChoices {
  chunkSize: number;
  compression: 'zstd' | 'none';
  index: 'embedded' | 'standalone';
  verity: { algorithm: 'sha256' | 'sha512'; blockSize: number } | null;
}

export interface SpecBlob {
  blob: Buffer;
  /** Image, and tree if any. */
  data: Buffer;
  annotations: Record<string, string>;
  diffId: string;
  /** The index's payload. */
  index: Buffer;
}

const hash = (algorithm: string, ...parts: Uint8Array[]): Buffer => {
  const state = createHash(algorithm);
  for (const part of parts) state.update(part);
  return state.digest();
};
const named = (algorithm: string, bytes: Uint8Array): string =>
  `${algorithm}:${hash(algorithm, bytes).toString('hex')}`;

export function writeSpecBlob(image: Buffer, choices: SpecChoices): SpecBlob {
  const annotations: Record<string, string> = {};
  const data = choices.verity === null ? image : withTree(image, choices.verity, annotations);
  const diffId = named('sha256', data);
  annotations['org.erofs.uncompressed-digest'] = diffId;

  const framed = choices.compression === 'zstd';
  const stored: Buffer[] = [];
  const entries: Buffer[] = [];
  let offset = 0;
  for (let start = 0; start < data.length; start += choices.chunkSize) {
    const chunk = data.subarray(start, start + choices.chunkSize);
    const bytes = framed ? zstdFrame(chunk) : chunk;
    const entry = Buffer.alloc(16);
    entry.writeBigUInt64LE(BigInt(offset), 0);
    entry.writeBigUInt64LE(BigInt(start), 8);
    entries.push(entry, hash('sha512', bytes));
    stored.push(bytes);
    offset += bytes.length;
  }
  const header = Buffer.alloc(32);
  header.set([0xcd, 0xe4, 0xec, 0x67, 1, framed ? 1 : 0]);
  header.writeBigUInt64LE(BigInt(data.length), 8);
  header.writeUInt32LE(stored.length, 16);
  header.set([1, 64], 20);
  const index = Buffer.concat([header, ...entries]);
  if (choices.index === 'standalone')
    return { blob: Buffer.concat(stored), data, annotations, diffId, index };

  if (framed && offset % 4 !== 0) stored.push(skippable(Buffer.alloc(4 - (offset % 4))));
  const start = stored.reduce((sum, { length }) => sum + length, 0);
  stored.push(framed ? skippable(index) : index);
  const blob = Buffer.concat(stored);
  // Uncompressed, the index is a part of the content.
  const contentId = framed ? diffId : named('sha256', blob);
  annotations['org.erofs.uncompressed-digest'] = contentId;
  annotations['org.erofs.chunk-index.range'] = `${start}:${blob.length}`;
  annotations['org.erofs.chunk-index.digest'] = named('sha512', index);
  return { blob, data, annotations, diffId: contentId, index };
}

function skippable(payload: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(0x184d2a50, 0);
  header.writeUInt32LE(payload.length, 4);
  return Buffer.concat([header, payload]);
}

/** Single segment, content size of 8 bytes, blocks of 128 KiB as they are. */
export function zstdFrame(bytes: Buffer): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32LE(0xfd2fb528, 0);
  header[4] = 0b1110_0000;
  header.writeBigUInt64LE(BigInt(bytes.length), 5);
  const parts: Buffer[] = [header];
  const most = 128 << 10;
  for (let at = 0; at < bytes.length; at += most) {
    const block = bytes.subarray(at, at + most);
    const last = at + most >= bytes.length ? 1 : 0;
    const start = Buffer.alloc(3);
    start.writeUIntLE((block.length << 3) | last, 0, 3);
    parts.push(start, block);
  }
  return Buffer.concat(parts);
}

/** The tree of dm-verity over `data`, which is padded with zeros to a block: the root's level first. */
export function merkleTree(
  data: Buffer,
  { algorithm, blockSize, salt }: { algorithm: string; blockSize: number; salt: Buffer },
): { padded: Buffer; dataBlocks: number; root: string; tree: Buffer } {
  const blocksOf = (bytes: Buffer): Buffer[] =>
    Array.from({ length: Math.ceil(bytes.length / blockSize) }, (_, i) => {
      const block = Buffer.alloc(blockSize);
      bytes.copy(block, 0, i * blockSize);
      return block;
    });
  const padded = Buffer.concat(blocksOf(data));
  let level: Buffer[] = blocksOf(padded).map((block) => hash(algorithm, salt, block));
  const dataBlocks = level.length;
  const levels: Buffer[] = [];
  while (level.length > 1) {
    const hashBlocks = blocksOf(Buffer.concat(level));
    levels.unshift(Buffer.concat(hashBlocks));
    level = hashBlocks.map((block) => hash(algorithm, salt, block));
  }
  const root = `${algorithm}:${level[0]!.toString('hex')}`;
  return { padded, dataBlocks, root, tree: Buffer.concat(levels) };
}

function withTree(
  image: Buffer,
  { algorithm, blockSize }: NonNullable<SpecChoices['verity']>,
  annotations: Record<string, string>,
): Buffer {
  const salt = Buffer.alloc(32);
  const { padded, dataBlocks, root, tree } = merkleTree(image, { algorithm, blockSize, salt });
  annotations['org.erofs.dmverity.hash_offset'] = `${padded.length}`;
  annotations['org.erofs.dmverity.root_digest'] = root;
  annotations['org.erofs.dmverity.block_size'] = `${blockSize}`;

  const superblock = Buffer.alloc(Math.max(512, blockSize));
  superblock.write('verity');
  superblock.writeUInt32LE(1, 8);
  superblock.writeUInt32LE(1, 12);
  uuid5(`erofs:verity/${root}`).copy(superblock, 16);
  superblock.write(algorithm, 32);
  superblock.writeUInt32LE(blockSize, 64);
  superblock.writeUInt32LE(blockSize, 68);
  superblock.writeBigUInt64LE(BigInt(dataBlocks), 72);
  superblock.writeUInt16LE(salt.length, 80);
  return Buffer.concat([padded, superblock, tree]);
}

/** RFC 9562, section 5.5, in the namespace of URLs. */
function uuid5(name: string): Buffer {
  const namespace = Buffer.from('6ba7b8119dad11d180b400c04fd430c8', 'hex');
  const uuid = hash('sha1', namespace, Buffer.from(name)).subarray(0, 16);
  uuid[6] = (uuid[6]! & 0x0f) | 0x50;
  uuid[8] = (uuid[8]! & 0x3f) | 0x80;
  return uuid;
}
