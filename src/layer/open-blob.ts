import type { LruSpace } from '../erofs/lru-map';
import type { Profile } from '../format/profiles';
import { checkOptions } from '../options';
import type { ByteSource } from '../source/byte-source';
import { FrameCache } from '../source/cached';
import type { HttpOptions } from '../source/http-range';
import { checkRange } from '../source/range';
import { readAhead } from '../source/read-ahead';
import { ChunkLoader } from './chunk-loader';
import { readChunks } from './decoded-range';
import { openLocation, type LayerLocation } from './location';
import type { FrameSection } from './frame-section';
import { openSeekable, type SeekableBlob, type TrustOptions } from './seekable';
import type { BlobTree } from './verity-section';

/** Where frames are kept from one run to the next. */
export interface FrameCacheOptions {
  /** Folder that keeps verified frames by their checksums, of any blobs; default: none. */
  cacheDir?: string | undefined;
  /** Bytes of frames that `cacheDir` keeps; default: 4 GiB. */
  cacheDirBytes?: number | undefined;
}

/** What openBlob() takes. */
export interface BlobOptions extends TrustOptions, HttpOptions, FrameCacheOptions {
  /** Bytes of decoded chunks that are kept in memory, or one chunk where that is more; default: 64 MiB. */
  cacheBytes?: number | undefined;
}

/** What callers of this package may say as well. */
export interface SharedCacheOptions {
  /** Room for decoded chunks that several blobs share, in the place of `cacheBytes`. */
  cacheSpace?: LruSpace | undefined;
}

/** A seekable blob, open for random access to the EROFS image in it. */
export interface BlobReader extends ByteSource {
  /** Bytes of the EROFS image, without a dm-verity tree behind it. */
  readonly size: number;
  readonly profile: Profile;
  /** The table of frames. */
  readonly section: FrameSection;
  /** The dm-verity tree that the blob carries. */
  readonly tree: BlobTree | null;
  /**
   * `length` bytes of the image from `offset`: only the frames that hold them are fetched, and each is verified before it is decoded. The
   * bytes are shared with the cache: copy them before writing to them, or to keep a few of them for long. CORRUPT outside of the image.
   */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Buffer>;
  /** Ends reads under way with CANCELLED and closes the source. */
  close(): Promise<void>;
}

const defaultCacheBytes = 64 << 20;
/** Holds the table of a blob of some 2 GB, and the dm-verity superblock behind it. */
const openingWindow = 32 << 10;

/**
 * Opens a seekable blob in a file, on a web server that answers ranges (with a descriptor only), or in a source, which is closed with it,
 * also when this fails. The table is checked against the descriptor's digest; UNVERIFIED when that has none, and for a bare blob in a file
 * a warning.
 */
export async function openBlob(location: LayerLocation, options: BlobOptions = {}): Promise<BlobReader> {
  checkOptions('openBlob', options);
  const source = await openLocation(location, options);
  try {
    return await openBlobIn(source, options);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** As openBlob(), of a source that stays open when this fails. */
export async function openBlobIn(
  source: ByteSource,
  options: BlobOptions & SharedCacheOptions,
): Promise<BlobReader> {
  const cache = await openFrameCache(options);
  return new OpenBlob(source, await openTable(source, options), cache, options);
}

async function openFrameCache({
  cacheDir,
  cacheDirBytes,
  onWarning,
}: BlobOptions): Promise<FrameCache | null> {
  return cacheDir === undefined ? null : FrameCache.open(cacheDir, { maxBytes: cacheDirBytes, onWarning });
}

async function openTable(source: ByteSource, options: BlobOptions): Promise<SeekableBlob> {
  const { descriptor, signal, onWarning } = options;
  // A bare blob is walked through first, in leaps.
  const view = descriptor === undefined ? source : readAhead(source, openingWindow, signal);
  const blob = await openSeekable(view, options);
  if (blob.section.hashAlgorithm === 'none') {
    onWarning?.(`${source.name}: its table has no checksums; frames are read without verifying them`);
  }
  return blob;
}

class OpenBlob implements BlobReader {
  readonly name: string;
  readonly size: number;
  readonly profile: Profile;
  readonly section: FrameSection;
  readonly tree: BlobTree | null;
  private readonly loader: ChunkLoader;

  constructor(
    private readonly source: ByteSource,
    blob: SeekableBlob,
    cache: FrameCache | null,
    { cacheBytes = defaultCacheBytes, cacheSpace }: BlobOptions & SharedCacheOptions,
  ) {
    const { profile, section, tree } = blob;
    this.name = source.name;
    this.size = blob.imageSize;
    this.profile = profile;
    this.section = section;
    this.tree = tree;
    const { frames } = section;
    this.loader = new ChunkLoader(
      source,
      frames,
      cacheSpace ?? cacheBytes,
      frames.checksumSize === 0 ? null : cache,
    );
  }

  async read(offset: number, length: number, signal?: AbortSignal): Promise<Buffer> {
    checkRange(this, offset, length);
    return readChunks(this.section.frames, { name: this.name, offset, length }, (index) =>
      this.loader.load(index, signal),
    );
  }

  async close(): Promise<void> {
    await this.loader.close();
    await this.source.close();
  }
}
