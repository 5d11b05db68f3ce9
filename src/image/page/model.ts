import { lookUp } from '../../erofs/tree-lookup';
import { walkTree } from '../../erofs/tree-walk';
import { SeekableErofsError } from '../../errors';
import { hotEndOf } from '../../format/annotations';
import { showBytes, unescapePath } from '../../format/escaped-path';
import type { Trace } from '../../format/trace';
import type { ByteSource } from '../../source/byte-source';
import { publicName } from '../../public-name';
import { MergedTree, type MergedNode } from '../merged-tree';
import { checksumsOf, ChunkMap, type Tile } from './chunk-map';
import { fileKind } from './file-kinds';
import { openLayers, type OpenLayers, type OpenLayersOptions, type PageSource } from './open-layers';
import { nearRoot, SizeTree, type SizeNode } from './size-tree';

/** What a page shows of a layer. */
export interface PageLayer {
  kind: PageSource['kind'];
  digest: string | null;
  diffId: string | null;
  mediaType: string | null;
  size: number;
  uncompressed: number | null;
  profile: string | null;
  chunkSize: number | null;
  chunks: number;
  annotations: [string, string][];
  verity: { rootDigest: string; hash: string; salt: string; levels: number[]; blockSize: number } | null;
  tiles: Tile[];
  /** Bytes of files in it, and of those that upper layers hide. */
  fileBytes: number;
  hiddenBytes: number;
}

/** What a page shows of an image. */
export interface PageImage {
  name: string;
  digest: string | null;
  platform: string | null;
  layers: PageLayer[];
  tree: SizeNode | null;
  /** Files that a trace names, and those of them that the image has not. */
  traced: { files: number; missing: number } | null;
  /** Chunks, and bytes of them in blobs, that the image beside it has too. */
  shared: { chunks: number; bytes: number } | null;
}

export interface PageOptions extends OpenLayersOptions {
  /** What was read of it. */
  trace?: Trace | undefined;
  /** An image to show beside it, with what both have. */
  sharedWith?: string | undefined;
}

/** Reads what a page shows: tables, inodes and directories, not the data of files. One image, or two that are compared. */
export async function pageImages(refOrPath: string, options: PageOptions): Promise<PageImage[]> {
  const { trace, sharedWith, ...reading } = options;
  const opened = [await openLayers(refOrPath, reading)];
  try {
    if (sharedWith !== undefined)
      opened.push(await openLayers(sharedWith, { ...reading, descriptor: undefined }));
    const names = [refOrPath, sharedWith ?? ''];
    const checksums = opened.map(allChecksums);
    const images: PageImage[] = [];
    for (const [i, image] of opened.entries()) {
      const others = opened.length === 2 ? checksums[1 - i]! : null;
      images.push(await describeImage(names[i]!, image, others, i === 0 ? trace : undefined, options.signal));
    }
    return images;
  } finally {
    for (const image of opened) await image.close();
  }
}

function allChecksums({ layers }: OpenLayers): Set<string> {
  return new Set(layers.flatMap(({ blob }) => (blob === null ? [] : checksumsOf(blob.section.frames))));
}

async function describeImage(
  name: string,
  { digest, platform, layers, tree, places }: OpenLayers,
  others: ReadonlySet<string> | null,
  trace: Trace | undefined,
  signal: AbortSignal | undefined,
): Promise<PageImage> {
  const maps = layers.map((layer) => mapOf(layer, layers.length));
  const bySource: ChunkMaps = new Map(layers.map(({ bytes }, i) => [bytes, maps[i]]));
  const sizes = new SizeTree();
  const visible = new Map<number, Visible>();
  if (tree !== null) await walkMerged(tree, places, sizes, visible, signal);
  const fileBytes: number[] = [];
  for (const [i, layer] of layers.entries()) {
    fileBytes.push(await walkLayer(layer, bySource, visible.get(i), sizes, signal));
  }
  const traced = trace === undefined || tree === null ? null : await markReads(tree, bySource, trace);
  if (others !== null) for (const map of maps) map?.share(others);
  const described = layers.map((layer, i) => {
    const shown = visible.get(i)?.bytes ?? fileBytes[i]!;
    return {
      ...describeLayer(layer, maps[i]!),
      fileBytes: fileBytes[i]!,
      hiddenBytes: fileBytes[i]! - shown,
    };
  });
  return {
    name: publicName(name),
    digest,
    platform,
    layers: described,
    tree: tree === null ? null : sizes.root(),
    traced,
    shared: others === null ? null : sharedOf(described),
  };
}

/** Of all layers together; a page of them has a few megabytes. */
const maxTiles = 8192;

function mapOf({ blob, descriptor }: PageSource, layers: number): ChunkMap | null {
  if (blob === null) return null;
  return new ChunkMap(
    blob.section.frames,
    hotEndOf(descriptor ?? {}, blob.size),
    Math.max(16, Math.floor(maxTiles / layers)),
  );
}

/** By where data lies: a file of one layer may have it on a device. */
type ChunkMaps = ReadonlyMap<ByteSource | null, ChunkMap | null | undefined>;

/** What the merged tree shows of a layer: all bytes, and those below each folder near the root. */
interface Visible {
  bytes: number;
  near: Map<string, number>;
}

async function walkMerged(
  tree: MergedTree,
  places: readonly number[],
  sizes: SizeTree,
  visible: Map<number, Visible>,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const place of places) visible.set(place, { bytes: 0, near: new Map() });
  const seen = new Set<number>();
  for await (const { path, node } of walkTree(tree, { path: '/', node: tree.root }, { signal })) {
    const { inode, ino, parts } = node;
    if (inode.type !== 'file' || (inode.nlink > 1 && seen.has(ino))) continue;
    if (inode.nlink > 1) seen.add(ino);
    const layer = places[parts[0]!.layer]!;
    sizes.add(showBytes(path), inode.size, layer);
    const of = visible.get(layer)!;
    of.bytes += inode.size;
    const folder = nearRoot(showBytes(path));
    of.near.set(folder, (of.near.get(folder) ?? 0) + inode.size);
  }
}

/** All files of one layer, into its chunks; what is not visible is hidden. */
async function walkLayer(
  { filesystem }: PageSource,
  maps: ChunkMaps,
  visible: Visible | undefined,
  sizes: SizeTree,
  signal: AbortSignal | undefined,
): Promise<number> {
  if (filesystem === null) return 0;
  const tree = await MergedTree.open([{ name: 'layer', filesystem }], false);
  const near = new Map<string, number>();
  const seen = new Set<number>();
  let total = 0;
  for await (const { path, node } of walkTree(tree, { path: '/', node: tree.root }, { signal })) {
    const { inode, ino } = node;
    if (inode.type !== 'file' || (inode.nlink > 1 && seen.has(ino))) continue;
    if (inode.nlink > 1) seen.add(ino);
    const shown = showBytes(path);
    total += inode.size;
    const folder = nearRoot(shown);
    near.set(folder, (near.get(folder) ?? 0) + inode.size);
    await addExtents(tree, node, shown, maps);
  }
  for (const [folder, bytes] of near) {
    if (visible !== undefined) sizes.hide(folder, bytes - (visible.near.get(folder) ?? 0));
  }
  return total;
}

async function addExtents(tree: MergedTree, node: MergedNode, path: string, maps: ChunkMaps): Promise<void> {
  const kind = fileKind(path, node.inode.mode);
  for await (const extent of tree.extents(node)) maps.get(extent.source)?.add(path, kind, extent);
}

async function markReads(tree: MergedTree, maps: ChunkMaps, { reads }: Trace) {
  let missing = 0;
  for (const [order, { path, ranges }] of reads.entries()) {
    const node = await nodeAt(tree, path);
    if (node === null) {
      missing++;
      continue;
    }
    const wanted = ranges.length === 0 ? [[0, node.inode.size] as const] : ranges;
    for await (const { offset, length, address, source } of tree.extents(node)) {
      for (const [start, bytes] of wanted) {
        const from = Math.max(start, offset);
        const to = Math.min(start + bytes, offset + length);
        if (from < to) maps.get(source)?.read(address + from - offset, address + to - offset, order);
      }
    }
  }
  return { files: reads.length, missing };
}

async function nodeAt(tree: MergedTree, path: string): Promise<MergedNode | null> {
  try {
    const { node } = await lookUp(tree, unescapePath(path), true);
    return node.inode.type === 'file' ? node : null;
  } catch (error) {
    if (error instanceof SeekableErofsError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
}

function describeLayer(
  { kind, blob, descriptor, diffId, size }: PageSource,
  map: ChunkMap | null,
): Omit<PageLayer, 'fileBytes' | 'hiddenBytes'> {
  return {
    kind,
    digest: descriptor?.digest ?? null,
    diffId,
    mediaType: descriptor?.mediaType ?? null,
    size,
    uncompressed: blob?.size ?? null,
    profile: blob?.profile ?? null,
    chunkSize: blob?.section.chunkSize ?? null,
    chunks: blob === null ? 0 : blob.section.frames.offsets.length - 1,
    annotations: Object.entries(descriptor?.annotations ?? {}),
    verity: verityOf(blob),
    tiles: map?.tiles() ?? [],
  };
}

function verityOf(blob: PageSource['blob']): PageLayer['verity'] {
  if (blob?.tree == null) return null;
  const { rootDigest, superblock } = blob.tree;
  const { algorithm, dataBlocks, dataBlockSize, hashBlockSize, salt } = superblock;
  const perBlock = hashBlockSize / (algorithm === 'sha512' ? 64 : 32);
  const levels = [dataBlocks];
  while (levels.at(-1)! > 1 || levels.length === 1) levels.push(Math.ceil(levels.at(-1)! / perBlock));
  return {
    rootDigest,
    hash: algorithm,
    salt: Buffer.from(salt).toString('hex'),
    levels,
    blockSize: dataBlockSize,
  };
}

function sharedOf(layers: readonly { tiles: Tile[] }[]): { chunks: number; bytes: number } {
  const tiles = layers.flatMap((layer) => layer.tiles);
  return {
    chunks: tiles.reduce((sum, { shared }) => sum + shared, 0),
    // Of a tile of several chunks the share of its bytes.
    bytes: Math.round(tiles.reduce((sum, { shared, chunks, stored }) => sum + (stored * shared) / chunks, 0)),
  };
}
