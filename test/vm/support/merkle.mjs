// dm-verity's format, a second time and independent of the project: superblock and tree as `veritysetup format` writes them.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

const uuid = Buffer.from('11111111222233334444555555555555', 'hex');

/** `{payload, root}` of an image of whole blocks: hash type 1, data and hash blocks of one size. */
export function buildPayload(image, { algorithm, blockSize, salt }) {
  const hash = (block) => createHash(algorithm).update(salt).update(block).digest();
  const levels = [];
  let below = image;
  while (below.length > blockSize) {
    below = levelOf(below, blockSize, hash);
    levels.unshift(below);
  }
  const head = Buffer.alloc(blockSize);
  head.write('verity');
  head.writeUInt32LE(1, 8);
  head.writeUInt32LE(1, 12);
  uuid.copy(head, 16);
  head.write(algorithm, 32);
  head.writeUInt32LE(blockSize, 64);
  head.writeUInt32LE(blockSize, 68);
  head.writeBigUInt64LE(BigInt(image.length / blockSize), 72);
  head.writeUInt16LE(salt.length, 80);
  salt.copy(head, 88);
  return { payload: Buffer.concat([head, ...levels]), root: hash(below).toString('hex') };
}

/** The digests of all blocks, in as many whole blocks as they need. */
function levelOf(below, blockSize, hash) {
  const digests = [];
  for (let at = 0; at < below.length; at += blockSize) digests.push(hash(below.subarray(at, at + blockSize)));
  const size = digests.length * digests[0].length;
  return Buffer.concat([...digests, Buffer.alloc((blockSize - (size % blockSize)) % blockSize)]);
}

/** Checks the builder against the recorded vectors of an algorithm; throws where it differs. */
export function checkVectors(file, algorithm) {
  const { vectors } = JSON.parse(readFileSync(file, 'utf8'));
  const chosen = vectors.filter((vector) => vector.algorithm === algorithm && vector.dataBlocks < 300);
  assert.ok(chosen.length > 20, 'there are vectors');
  for (const { blockSize, dataBlocks, salt, payloadSha256, rootHash } of chosen) {
    const image = Buffer.alloc(blockSize * dataBlocks);
    for (let i = 0; i < image.length; i++) image[i] = Math.imul(i, 2654435761) >>> 24;
    const built = buildPayload(image, { algorithm, blockSize, salt: Buffer.from(salt, 'hex') });
    const name = `${algorithm}, ${dataBlocks} blocks of ${blockSize}, salt "${salt}"`;
    assert.equal(built.root, rootHash, name);
    assert.equal(createHash('sha256').update(built.payload).digest('hex'), payloadSha256, name);
  }
  return chosen.length;
}
