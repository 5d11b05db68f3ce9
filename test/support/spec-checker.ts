import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { walkErofs } from './erofs-walker';
import { merkleTree } from './spec-writer';

/*
 * Checks images in a layout by the rules of the draft EROFS image specification, as docs/format/erofs-image-spec-profile.md has them.
 * It shares no code with the package.
 */

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  annotations?: Record<string, string>;
  platform?: { os: string; architecture: string; 'os.features'?: string[] };
}

interface Manifest {
  config: Descriptor;
  layers: Descriptor[];
}

interface Config {
  'os.features'?: string[];
  rootfs: { diff_ids: string[] };
  history?: { empty_layer?: boolean }[];
}

const raw = 'application/vnd.erofs';
const zstd = 'application/vnd.erofs+zstd';
const indexType = 'application/vnd.erofs.chunk-index.v1';
const prefix = 'org.erofs.';
const namesOfRules = new Set(
  [
    ...['chunk-index.range', 'chunk-index.digest', 'chunk-index.mediaType', 'chunk-index.target'],
    ...['uncompressed-digest', 'dmverity.hash_offset', 'dmverity.root_digest', 'dmverity.block_size', 'role'],
  ].map((name) => prefix + name),
);

const hash = (algorithm: string, bytes: Uint8Array): string =>
  createHash(algorithm).update(bytes).digest('hex');
const matches = (digest: string, bytes: Uint8Array): boolean => {
  const [algorithm, value] = digest.split(':') as [string, string];
  return hash(algorithm, bytes) === value;
};

/** What a layout breaks of the rules, a line each; and the image data (tree included) of every layer, the lowest first. */
export function checkSpecLayout(folder: string): { faults: string[]; layers: Buffer[] } {
  const checker = new Checker(folder);
  const index = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as { manifests: Descriptor[] };
  for (const descriptor of index.manifests) checker.checkRoot(descriptor);
  return checker;
}

class Checker {
  readonly faults: string[] = [];
  readonly layers: Buffer[] = [];

  constructor(private readonly folder: string) {}

  checkRoot(descriptor: Descriptor): void {
    const document = this.json(descriptor) as Partial<Manifest> & { manifests?: Descriptor[] };
    if (document.manifests === undefined) this.checkManifest(document as Manifest);
    else this.checkIndex(document.manifests);
  }

  private checkIndex(entries: Descriptor[]): void {
    const isErofs = entries.map((entry) => this.isErofs(this.json(entry) as Manifest));
    for (const [i, entry] of entries.entries()) {
      if (!isErofs[i]) continue;
      const { platform } = entry;
      this.demand(
        platform?.['os.features']?.includes('erofs') === true,
        `${entry.digest}: no erofs in os.features of its platform`,
      );
      const same = (other: Descriptor): boolean =>
        other.platform?.os === platform?.os && other.platform?.architecture === platform?.architecture;
      const tar = entries.findIndex((other, j) => !isErofs[j] && same(other));
      this.demand(tar < i, `${entry.digest}: its tar manifest comes after it`);
      this.checkManifest(this.json(entry) as Manifest);
    }
  }

  private isErofs({ layers }: Manifest): boolean {
    return layers.some(({ mediaType }) => mediaType === raw || mediaType === zstd);
  }

  private checkManifest({ config: configDescriptor, layers }: Manifest): void {
    const config = this.json(configDescriptor) as Config;
    this.demand(config['os.features']?.includes('erofs') === true, 'no erofs in os.features of the config');
    const diffIds = config.rootfs.diff_ids;
    this.demand(diffIds.length === layers.length, 'not a DiffID for each layer');
    const entries = config.history?.filter(({ empty_layer: empty }) => empty !== true).length;
    this.demand(
      entries === undefined || entries === layers.length,
      'the history has not an entry for each layer',
    );
    const data = layers.filter(({ mediaType }) => mediaType !== indexType);
    this.demand(layers.at(-1) === data.at(-1), 'an index is the last layer');
    for (const [i, layer] of layers.entries()) {
      const next = layers[i + 1];
      if (layer.mediaType === indexType) {
        this.demand(i > 0 && layers[i - 1]!.mediaType !== indexType, `index ${i} has no layer before it`);
        this.demand(matches(diffIds[i]!, this.blob(layer)), `layer ${i}: its DiffID is another one`);
        continue;
      }
      const place = data.indexOf(layer);
      this.checkLayer(layer, next?.mediaType === indexType ? next : null, diffIds[i]!, {
        isBottom: place === 0,
        isTop: place === data.length - 1,
      });
    }
  }

  private checkLayer(
    layer: Descriptor,
    index: Descriptor | null,
    diffId: string,
    { isBottom, isTop }: { isBottom: boolean; isTop: boolean },
  ): void {
    const { annotations = {}, mediaType, digest } = layer;
    this.demand(mediaType === raw || mediaType === zstd, `${digest}: media type ${mediaType}`);
    const foreign = Object.keys(annotations).filter(
      (name) => name.startsWith(prefix) && !namesOfRules.has(name),
    );
    this.demand(foreign.length === 0, `${digest}: annotations ${foreign.join()}`);
    this.demand(
      annotations['org.erofs.role'] === (isTop ? undefined : 'overlay-lower'),
      `${digest}: wrong role`,
    );
    const blob = this.blob(layer);
    const data = index === null ? this.embedded(layer, blob) : this.standalone(layer, index, blob);
    this.demand(matches(diffId, mediaType === raw ? blob : data), `${digest}: DiffID`);
    this.demand(annotations['org.erofs.uncompressed-digest'] === diffId, `${digest}: uncompressed-digest`);
    this.layers.push(data);
    const hashOffset = annotations['org.erofs.dmverity.hash_offset'];
    if (hashOffset !== undefined) this.checkTree(data, Number(hashOffset), annotations);
    this.checkFiles(data.subarray(0, Number(hashOffset ?? data.length)), digest, isBottom);
  }

  private embedded({ annotations = {}, mediaType, digest }: Descriptor, blob: Buffer): Buffer {
    const range = /^(\d+):(\d+)$/.exec(annotations['org.erofs.chunk-index.range'] ?? '');
    if (range === null) {
      this.faults.push(`${digest}: no range of an index`);
      return blob;
    }
    const [start, end] = range.slice(1).map(Number) as [number, number];
    this.demand(end === blob.length, `${digest}: the index is not last`);
    let payload = blob.subarray(start, end);
    if (mediaType === zstd) {
      this.demand(start % 4 === 0, `${digest}: the index's frame is not aligned`);
      const isFrame =
        payload.readUInt32LE(0) >>> 4 === 0x184d2a5 && payload.readUInt32LE(4) === payload.length - 8;
      this.demand(isFrame, `${digest}: the index is in no skippable frame`);
      payload = payload.subarray(8);
    }
    const said = annotations['org.erofs.chunk-index.digest'] ?? '';
    this.demand(said.startsWith('sha512:') && matches(said, payload), `${digest}: digest of the index`);
    return this.checkChunks(blob.subarray(0, start), payload, mediaType === zstd, digest);
  }

  private standalone(layer: Descriptor, index: Descriptor, blob: Buffer): Buffer {
    this.demand(
      index.annotations?.['org.erofs.chunk-index.target'] === layer.digest,
      `${index.digest}: target`,
    );
    this.demand(
      layer.annotations?.['org.erofs.chunk-index.range'] === undefined,
      `${layer.digest}: two indexes`,
    );
    return this.checkChunks(blob, this.blob(index), layer.mediaType === zstd, layer.digest);
  }

  /** Returns the data that the chunks decode to. */
  private checkChunks(stored: Buffer, index: Buffer, isZstd: boolean, what: string): Buffer {
    this.demand(index.toString('hex', 0, 5) === 'cde4ec6701', `${what}: magic and version of the index`);
    this.demand(index[5] === (isZstd ? 1 : 0) && index.readUInt16LE(6) === 0, `${what}: compression, flags`);
    this.demand(index.toString('hex', 20, 32) === '0140' + '00'.repeat(10), `${what}: hash, reserved bytes`);
    const count = index.readUInt32LE(16);
    this.demand(index.length === 32 + count * 80, `${what}: size of the index`);
    const number = (i: number, field: number): number => Number(index.readBigUInt64LE(32 + i * 80 + field));
    const size = Number(index.readBigUInt64LE(8));
    const parts: Buffer[] = [];
    let start = 0;
    for (let i = 0; i < count; i++) {
      this.demand(number(i, 8) === start, `${what}: chunk ${i} begins at ${number(i, 8)}, not ${start}`);
      let bytes = stored.subarray(number(i, 0), i + 1 < count ? number(i + 1, 0) : stored.length);
      if (isZstd && i + 1 === count) bytes = withoutPadding(bytes);
      const sum = index.toString('hex', 48 + i * 80, 112 + i * 80);
      this.demand(hash('sha512', bytes) === sum, `${what}: checksum of chunk ${i}`);
      const part = isZstd ? execFileSync('zstd', ['-dc'], { input: bytes, maxBuffer: 1 << 30 }) : bytes;
      start += part.length;
      parts.push(part);
    }
    this.demand(start === size, `${what}: chunks of ${start} bytes, but the index says ${size}`);
    return Buffer.concat(parts);
  }

  private checkTree(data: Buffer, hashOffset: number, annotations: Record<string, string>): void {
    const blockSize = Number(annotations['org.erofs.dmverity.block_size'] ?? 4096);
    const root = annotations['org.erofs.dmverity.root_digest'] ?? '';
    const section = data.subarray(hashOffset);
    this.demand(section.toString('latin1', 0, 8) === 'verity\0\0', 'no dm-verity superblock');
    this.demand(
      section.readUInt32LE(64) === blockSize && section.readUInt32LE(68) === blockSize,
      'block sizes',
    );
    const salt = section.subarray(88, 88 + section.readUInt16LE(80));
    this.demand(salt.equals(Buffer.alloc(32)), 'the salt is not 32 zeros');
    const algorithm = section.toString('latin1', 32, 64).replace(/\0+$/, '');
    const wanted = merkleTree(data.subarray(0, hashOffset), { algorithm, blockSize, salt });
    this.demand(wanted.root === root, `root digest ${root}`);
    this.demand(wanted.padded.length === hashOffset, 'the tree begins in mid-block');
    this.demand(section.readBigUInt64LE(72) === BigInt(wanted.dataBlocks), 'number of data blocks');
    this.demand(section.subarray(Math.max(512, blockSize)).equals(wanted.tree), 'the tree');
  }

  private checkFiles(image: Buffer, what: string, isBottom: boolean): void {
    const isErofs = image.length >= 1152 && image.readUInt32LE(1024) === 0xe0f5e1e2;
    this.demand(isErofs, `${what}: no EROFS image`);
    for (const { paths, mode, rdev, nlink, xattrs } of isErofs ? walkErofs(image) : []) {
      const [path] = paths as [string];
      for (const name of paths) this.demand(!/\/\.wh\.[^/]*$/.test(name), `${what}: name ${name}`);
      const opaque = xattrs.get('trusted.overlay.opaque');
      this.demand(opaque === undefined || opaque === 'y', `${what}: ${path} is opaque in an unknown way`);
      const hides = opaque !== undefined || ((mode & 0o170000) === 0o020000 && rdev === 0);
      this.demand(!isBottom || !hides, `${what}: ${path} hides something, below the bottom layer`);
      const isDirectory = (mode & 0o170000) === 0o040000;
      this.demand(isDirectory || nlink === paths.length, `${what}: ${path} has links elsewhere`);
    }
  }

  private demand(holds: boolean, fault: string): void {
    if (!holds) this.faults.push(fault);
  }

  private json(descriptor: Descriptor): unknown {
    return JSON.parse(this.blob(descriptor).toString());
  }

  private blob({ digest, size }: Descriptor): Buffer {
    const bytes = readFileSync(join(this.folder, 'blobs', ...digest.split(':')));
    this.demand(matches(digest, bytes) && bytes.length === size, `${digest}: digest or size`);
    return bytes;
  }
}

/** The last chunk is exactly one frame; at most a skippable frame of up to three zeros may follow. */
function withoutPadding(bytes: Buffer): Buffer {
  for (let size = 1; size <= 3; size++) {
    const padding = Buffer.from([0x50, 0x2a, 0x4d, 0x18, size, 0, 0, 0, ...Array<number>(size).fill(0)]);
    if (bytes.subarray(-padding.length).equals(padding)) return bytes.subarray(0, -padding.length);
  }
  return bytes;
}
