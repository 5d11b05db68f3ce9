import { failure } from '../errors';
import type { InputFile } from '../fs/same-file';
import { openImages, type ImageSet, type PlatformSelection } from '../image/images';
import { settingsOf, type EncodeOptions } from '../layer/encode';
import { parseReference, type Reference } from '../oci/reference';
import { publicName } from '../public-name';
import { openSource } from '../store/open';
import type { RegistryOptions } from '../store/registry/options';
import { inputFiles } from './input-files';
import { lostNameWarning } from './onto-itself';
import { ConversionPool } from './pool';
import { fillCache, writeImages } from './write-images';

/** How an image is converted. */
export interface ConvertOptions extends EncodeOptions, PlatformSelection, RegistryOptions {
  /** Shared by the conversions of one run, so that together they use no more threads than one, and convert a common layer once. */
  pool?: ConversionPool | undefined;
  /**
   * Write an index of the image as it is, with its blobs, and what was made of it; what the destination has under that name in
   * an index already stays in it.
   */
  appendToIndex?: boolean | undefined;
  /**
   * Say "erofs" in the os.features of the index's entries, in profile "containerd" too; containerd then has to be asked for that platform.
   * Profile "erofs-image-spec" and `appendToIndex` always say it.
   */
  osFeatures?: boolean | undefined;
  /** Folder in which converted layers are kept, and found by later runs; default: none. */
  cache?: string | undefined;
  /** Files that are read besides the image, such as a list of jobs: an archive that is written must not take their place. */
  inputs?: readonly string[] | undefined;
}

/** What became of an image. */
export interface ConvertResult {
  source: string;
  destination: string;
  /** Of the manifest or index that was written; null in an `erofs-cache:`, which has none. */
  digest: string | null;
  manifests: {
    /** `os/arch[/variant]`. */
    platform: string;
    /** In an `erofs-cache:` the source's. */
    digest: string;
    layers: {
      /** Digest of the source's layer. */
      source: string;
      /** Null in an `erofs-cache:`, whose entries are found by their DiffIDs. */
      digest: string | null;
      size: number;
      /** In an `erofs-cache:` that of the source's layer. */
      diffId: string;
      uncompressedSize: number | null;
      /** Passed through as it was, or converted before. */
      reused: boolean;
    }[];
  }[];
  /** The run in numbers; a layer that occurs twice counts once. */
  summary: {
    /** Of the manifest or index that the source's reference named. */
    sourceDigest: string;
    layers: number;
    bytesIn: number;
    bytesOut: number;
    seconds: number;
  };
}

/**
 * Converts an image: every layer becomes a seekable EROFS blob, manifest, config and index are rewritten to match. From an index it
 * takes this machine's platform, unless others are named or all asked for. Nothing appears under the destination's reference
 * before everything is there. USAGE for an archive in the place of a file that is read.
 */
export async function convertImage(
  source: string,
  destination: string,
  options: ConvertOptions = {},
): Promise<ConvertResult> {
  const started = performance.now();
  const settings = settingsOf(options);
  const [from, to] = [parseReference(source), parseReference(destination)];
  checkAppend(to, destination, options);
  const pool = options.pool ?? new ConversionPool(options);
  const opened = await openSource(source, options);
  try {
    const set = await openImages(opened.store, opened.reference, options);
    const job = { source: opened.store, settings, options, pool };
    const { digest, manifests } =
      to.transport === 'erofs-cache'
        ? await fillCache(job, set, to.path)
        : await writeImages(job, set, { source, destination, inputs: inputsOf(from, set, options) });
    const warning = options.appendToIndex === true ? null : await lostNameWarning(from, to, set, digest);
    if (warning !== null) options.onWarning?.(warning);
    const summary = summarise(set, manifests, (performance.now() - started) / 1000);
    return { source: publicName(source), destination: publicName(destination), digest, manifests, summary };
  } finally {
    await opened.store.close();
  }
}

function inputsOf(from: Reference, set: ImageSet, { inputs = [], authFile }: ConvertOptions): InputFile[] {
  const others = authFile === undefined ? inputs : [...inputs, authFile];
  return [...inputFiles(from, set), ...others.map((path) => ({ path }))];
}

function checkAppend({ transport }: Reference, destination: string, { appendToIndex }: ConvertOptions): void {
  if (appendToIndex !== true || transport !== 'erofs-cache') return;
  throw failure('USAGE', destination, 'a cache has no index', 'leave out --append-to-index');
}

function summarise(
  set: ImageSet,
  manifests: ConvertResult['manifests'],
  seconds: number,
): ConvertResult['summary'] {
  const sizes = new Map(
    set.images.flatMap(({ manifest }) => manifest.layers.map(({ digest, size }) => [digest, size])),
  );
  const layers = [
    ...new Map(
      manifests.flatMap((manifest) =>
        manifest.layers.map((layer) => [`${layer.source} ${layer.diffId}`, layer] as const),
      ),
    ).values(),
  ];
  const total = (values: number[]): number => values.reduce((sum, value) => sum + value, 0);
  return {
    sourceDigest: set.descriptor.digest,
    layers: layers.length,
    bytesIn: total(layers.map(({ source }) => sizes.get(source) ?? 0)),
    bytesOut: total(layers.map(({ size }) => size)),
    seconds,
  };
}
