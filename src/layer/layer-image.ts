import { failure } from '../errors';
import { compressionMagicSize, unreadCompression } from '../format/compressions';
import { formatDigest } from '../format/digest';
import type { ResourceOptions, WarningOptions } from '../job';
import { native, type NativeSource, type Slice } from '../native/binding';
import { reading } from '../native/native-error';
import { runNative } from '../native/run';
import type { ByteSource } from '../source/byte-source';
import type { FilePieces } from './chunk-borders';
import type { HotFiles } from './hot-files';
import { mkfsSettings, warnOfUnusedMkfs, type MkfsChoices, type MkfsSettings } from './mkfs/options';
import { asByteSource, nativeSourceOf } from './native-byte-source';
import { resourcesOf } from './resources';
import { sniffLayer } from './sniff';

/** EROFS block size of the images that are built here: the only one that kernels before 5.19 mount … */
const builtBlockSize = 4096;
/** … and of those that point at a tar, in which data begins at a multiple of this. */
const tarBlockSize = 512;

/** A layer's bytes, decompressed where they were compressed. close() it. */
export interface PlainLayer {
  content: NativeSource;
  /** `sha256:…` of the layer's bytes as they came, and of the decompressed ones; null when it was not compressed and so not read. */
  sourceDigest: string | null;
  contentDigest: string | null;
  close(): void;
}

/** The raw EROFS image of a layer, ready to be read anywhere. close() it. */
export interface LayerImage extends Omit<PlainLayer, 'content'> {
  image: NativeSource;
  /** What was built of a tar; null when the layer is an image itself. */
  built: { inodes: number; blockSize: number } | null;
  /** Whether the image points at the tar, which is its device then. */
  hasDevice: boolean;
  /** The hot part of what was built: where it ends, and which of the files it has; null when there is none. */
  hot: { end: number; found: number[] } | null;
  /** Where the data of its files lies, if that was asked for and is known without reading the image. */
  filePieces: FilePieces | null;
}

/** Opens a layer that is no seekable blob: gzip and zstd, told by content, are inflated into an unlinked file. */
export async function openPlainLayer(layer: Slice, options: ResourceOptions): Promise<PlainLayer> {
  const { tmpDir } = resourcesOf(options);
  const plain = nativeSourceOf(layer);
  try {
    const opening = runNative(options, (job) => native.openInput(plain, { tmpDir }, job), layer.name);
    const input = await reading(layer.name, opening);
    return {
      content: input.source,
      sourceDigest: input.sourceDigest && formatDigest('sha256', input.sourceDigest),
      contentDigest: input.contentDigest && formatDigest('sha256', input.contentDigest),
      close: () => {
        input.source.close();
      },
    };
  } finally {
    plain.close();
  }
}

/** How the image of a tar is built, and what the calls that build take. */
export interface BuildOptions extends ResourceOptions, WarningOptions, MkfsChoices {
  /**
   * Nothing will lie below the layer: drop whiteouts and opaque marks, which would hide nothing. Profile "erofs-image-spec" wants its
   * bottom layers so. Only the built-in builder can; default: false.
   */
  bottomLayer?: boolean | undefined;
}

/** What a conversion knows of a layer's place and use; programs ask for it by ConvertOptions. */
export interface PlannedBuildOptions extends BuildOptions {
  /** Files whose data comes first; zeros fill the image up to a multiple of `border` bytes behind it. */
  hot?: { files: HotFiles; border: number } | undefined;
  /** "files": where the data of files lies is needed. */
  chunking?: string | undefined;
  /** The tar is a device of its image, by this tag … */
  deviceTag?: string | undefined;
  /** … or, where it was compressed, what is made of its bytes here, whose tag this gives. */
  encodeDevice?: ((tar: NativeSource) => Promise<string>) | undefined;
}

/** Says that a layer is no tar, so that its data stays where it is. */
export function warnOfKeptOrder(layer: string, { hot, onWarning }: PlannedBuildOptions): void {
  if (hot !== undefined) onWarning?.(`${layer}: it is EROFS already, so --order has no effect on it`);
}

/**
 * The image of a layer that is no seekable blob: a tar (plain, gzip, zstd) is planned, or built by mkfs.erofs where that is asked for; an
 * EROFS image (raw, gzip, zstd) is used as it is. CORRUPT and REFUSED name the tar's entry; CORRUPT when the content is neither.
 */
export async function openLayerImage(layer: Slice, options: PlannedBuildOptions): Promise<LayerImage> {
  const mkfs = mkfsSettings(options);
  const opened = await openPlainLayer(layer, options);
  const { content, ...rest } = opened;
  try {
    const source = asByteSource(content, layer.name);
    const kind = await sniffLayer(source);
    if (kind === 'erofs') {
      warnOfUnusedMkfs(layer.name, options);
      warnOfKeptOrder(layer.name, options);
      return { ...rest, image: content, built: null, hot: null, filePieces: null, hasDevice: false };
    }
    if (kind !== 'tar' && kind !== 'empty') throw await notALayer(source);
    return mkfs === null
      ? await planned(opened, layer.name, options)
      : await madeByMkfs(opened, layer.name, mkfs, options);
  } catch (error) {
    rest.close();
    throw error;
  }
}

function planSettings(options: PlannedBuildOptions, deviceTag: string | undefined) {
  const { bottomLayer = false, hot, chunking } = options;
  const blockSize = deviceTag === undefined ? builtBlockSize : tarBlockSize;
  return {
    blockSize,
    bottomLayer,
    ...resourcesOf(options),
    hotPaths: hot?.files.paths ?? [],
    hotRanges: hot?.files.ranges ?? [],
    hotBorder: hot?.border ?? blockSize,
    listFiles: chunking === 'files',
    deviceTag: deviceTag ?? null,
  };
}

/** A device's bytes are found by their places, which compressed bytes don't have. */
async function tagOfDevice(
  { content, contentDigest }: PlainLayer,
  { deviceTag, encodeDevice }: PlannedBuildOptions,
): Promise<string | undefined> {
  if (deviceTag === undefined || contentDigest === null) return deviceTag;
  return encodeDevice!(content);
}

async function planned(plain: PlainLayer, name: string, options: PlannedBuildOptions): Promise<LayerImage> {
  const { hot } = options;
  const { content, ...rest } = plain;
  const settings = planSettings(options, await tagOfDevice(plain, options));
  const { blockSize, listFiles } = settings;
  const planning = runNative(options, (job) => native.planImage(content, settings, job), name);
  const plan = await reading(name, planning);
  for (const line of plan.warnings) options.onWarning?.(line);
  const close = (): void => {
    plan.source.close();
    rest.close();
  };
  return {
    ...rest,
    image: plan.source,
    built: { inodes: plan.inodes, blockSize },
    hasDevice: plan.hasDevice,
    hot: hot === undefined ? null : { end: plan.hotEnd, found: plan.hotFound },
    filePieces: listFiles ? plan.filePieces : null,
    close,
  };
}

async function madeByMkfs(
  { content, contentDigest, ...rest }: PlainLayer,
  name: string,
  settings: MkfsSettings,
  options: BuildOptions,
): Promise<LayerImage> {
  const { makeImage } = await import('./mkfs/mkfs.js'); // seldom asked for, and much to load
  const tar = { source: content, digest: contentDigest, name };
  const { image, tarDigest, ...built } = await makeImage(tar, settings, options);
  rest.close(); // the tar is not needed any more
  const close = (): void => {
    image.close();
  };
  const sourceDigest = rest.sourceDigest ?? tarDigest;
  return { image, built, hot: null, filePieces: null, hasDevice: false, sourceDigest, contentDigest, close };
}

async function notALayer(source: ByteSource): Promise<Error> {
  const { name, size } = source;
  const compression = unreadCompression(await source.read(0, Math.min(size, compressionMagicSize)));
  if (compression === null)
    return failure('CORRUPT', name, 'its content is neither a tar nor an EROFS image');
  const hint = 'decompress it first; tars may be plain, gzip or zstd';
  return failure('UNSUPPORTED', name, `it is compressed by ${compression}`, hint);
}
