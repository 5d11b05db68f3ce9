import { failure, SeekableErofsError } from '../errors';
import { readSeekableAnnotations } from '../format/annotations';
import { layerFormat } from '../format/media-types';
import { native } from '../native/binding';
import { fromNativeError } from '../native/native-error';
import type { Descriptor } from '../oci/types';
import type { ByteSource } from '../source/byte-source';
import { findTableFrame } from './frame-walk';
import { isSeekableLayer } from './seekable';
import { sniffBytes, sniffedSize, sniffLayer, type ContentKind } from './sniff';

/**
 * How the EROFS image of a layer is read: `seekable`, by a table of chunks; `raw`, as it is; `zstd`, decompressed from its beginning to
 * its end, for no table tells where its chunks are. A `tar` has none.
 */
export type LayerKind = 'seekable' | 'raw' | 'zstd' | 'tar';

/** What tells the kind of a layer, beside its bytes. */
interface KindOptions {
  descriptor?: (Pick<Descriptor, 'annotations'> & { mediaType?: string | undefined }) | undefined;
  /** Its chunk index, where that is a layer of its own. */
  indexLayer?: unknown;
  allowUnverified?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Tells what kind a layer is, for every command alike: by its descriptor where that has annotations of a seekable layer, else by its bytes.
 * CORRUPT for what is no layer, MISMATCH when its media type says something else than its annotations or its bytes.
 */
export async function layerKind(source: ByteSource, options: KindOptions): Promise<LayerKind> {
  const { descriptor, indexLayer, signal } = options;
  const format = layerFormat(descriptor?.mediaType ?? '')?.kind;
  const isSeekable = isSeekableLayer(descriptor, indexLayer);
  if (format === 'tar' && isSeekable)
    throw failure('MISMATCH', source.name, 'it has the media type of a tar, but a table of EROFS chunks');
  if (format === 'tar') return 'tar';
  if (isSeekable) return 'seekable';
  const kind = await kindByContent(source, options, await sniffLayer(source, signal));
  if (kind === 'tar' && format === 'erofs')
    throw failure('MISMATCH', source.name, 'it is a tar layer, but has the media type of EROFS');
  return kind;
}

async function kindByContent(
  source: ByteSource,
  { descriptor, allowUnverified = false, signal }: KindOptions,
  content: ContentKind,
): Promise<LayerKind> {
  if (content === 'erofs') return 'raw';
  if (content === 'unknown') {
    throw failure(
      'CORRUPT',
      source.name,
      'its content is neither an EROFS image nor a seekable blob nor a tar',
    );
  }
  if (content !== 'zstd') return 'tar';
  // Looking for a table reads all of it, in vain where a table that nobody vouches for would not be used, or that the descriptor rules out.
  const isBare = descriptor === undefined || readSeekableAnnotations(descriptor.annotations) === null;
  const mayUseTable = isBare && (descriptor === undefined || allowUnverified);
  if (mayUseTable && (await findTableFrame(source, signal)) !== null) return 'seekable';
  return (await holdsImage(source, signal)) ? 'zstd' : 'tar';
}

/** Of a compressed block, which has at most 128 KiB, and what stands before it. */
const firstFrameSize = 256 << 10;

/** Whether the first zstd frame decodes to the beginning of an EROFS image. */
async function holdsImage(source: ByteSource, signal?: AbortSignal): Promise<boolean> {
  const input = await source.read(0, Math.min(source.size, firstFrameSize), signal);
  const options = { length: sniffedSize, whole: false, name: source.name };
  try {
    return sniffBytes(await native.decompressZstd(input, options)) === 'erofs';
  } catch (error) {
    const known = fromNativeError(error);
    if (known instanceof SeekableErofsError && known.code === 'CORRUPT') return false;
    throw known;
  }
}
