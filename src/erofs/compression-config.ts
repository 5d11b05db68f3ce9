import { failure } from '../errors';
import type { MetadataArea } from './metadata-area';
import type { CompressionAlgorithms } from './compressed/context';
import { superblockOffset, type Superblock } from './superblock';

const knownAlgorithms = 0xf;
const defaultLz4Distance = 65535;

/**
 * The configurations of the algorithms that the image uses: after the superblock, for each bit of its bitmap, u16 length and as many
 * bytes, each at a multiple of 4. UNSUPPORTED for unknown algorithms, CORRUPT for a configuration that is too short.
 */
export async function readCompressionConfig(
  area: MetadataArea,
  superblock: Superblock,
): Promise<CompressionAlgorithms> {
  const algorithms: CompressionAlgorithms = {
    available: 1,
    lz4: { maxDistance: superblock.compression || defaultLz4Distance, maxClusterBlocks: 1 },
    lzma: { dictionarySize: 0, format: 0 },
    deflate: { windowBits: 0 },
    zstd: { format: 0, windowLog: 0 },
  };
  if (!superblock.hasCompressionConfigs) return algorithms;
  algorithms.available = superblock.compression;
  if ((superblock.compression & ~knownAlgorithms) !== 0) {
    const bitmap = superblock.compression.toString(16);
    throw failure('UNSUPPORTED', area.name, `it uses unknown compression algorithms: 0x${bitmap}`);
  }
  let offset = superblockOffset + superblock.size;
  for (const [algorithm, parser] of parsers.entries()) {
    if ((superblock.compression & (1 << algorithm)) === 0) continue;
    offset = Math.ceil(offset / 4) * 4;
    const length = (await area.read(offset, 2)).readUInt16LE(0) || 0x1_0000; // a length of 2^16 wraps
    if (length < parser.size) {
      throw failure(
        'CORRUPT',
        area.name,
        `the configuration of compression algorithm ${algorithm} has ${length} bytes`,
      );
    }
    parser.parse(await area.read(offset + 2, parser.size), algorithms);
    offset += 2 + length;
  }
  return algorithms;
}

/** By number of the algorithm: LZ4, LZMA, DEFLATE, ZSTD. */
const parsers: { size: number; parse(bytes: Buffer, into: CompressionAlgorithms): void }[] = [
  {
    size: 4,
    parse: (bytes, into) => {
      const maxDistance = bytes.readUInt16LE(0) || defaultLz4Distance;
      into.lz4 = { maxDistance, maxClusterBlocks: bytes.readUInt16LE(2) || 1 };
    },
  },
  {
    size: 6,
    parse: (bytes, into) => {
      into.lzma = { dictionarySize: bytes.readUInt32LE(0), format: bytes.readUInt16LE(4) };
    },
  },
  {
    size: 1,
    parse: (bytes, into) => {
      into.deflate = { windowBits: bytes.readUInt8(0) };
    },
  },
  {
    size: 2,
    parse: (bytes, into) => {
      into.zstd = { format: bytes.readUInt8(0), windowLog: bytes.readUInt8(1) + 10 };
    },
  },
];
