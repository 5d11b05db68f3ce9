import { failure } from '../errors';
import type { EncodeSettings } from '../format/profiles';
import type { InputFile } from '../fs/same-file';
import { openImageSet, type ImageSet } from '../image/image-set';
import { inputFiles } from '../image/input-files';
import { settingsOf } from '../layer/encode';
import { parseReference, type Reference } from '../oci/reference';
import { checkOptions } from '../options';
import { publicName } from '../public-name';
import { openSource } from '../store/open';
import { withoutCounterparts } from './append-to-index';
import type { ConvertOptions } from './convert-options';
import type { ConvertResult } from './convert-result';
import { lostNameWarning } from './onto-itself';
import { refuseNoEffect } from './no-effect';
import { openOrders, orderFile } from './order';
import { ConversionPool } from './pool';
import { tidy, type ConversionRun } from './run';
import { writeImages } from './write-images';

/** Seconds: a conversion that has taken its time is not lost because a registry is restarted. */
const defaultRetryTime = 60;

/**
 * Converts an image: every layer becomes a seekable EROFS blob, manifest, config and index are rewritten to match. From an index it
 * takes this machine's platform, unless others are named or all asked for. Nothing appears under the destination's reference
 * before everything is there. USAGE for an archive in the place of a file that is read.
 */
export async function convertImage(
  source: string,
  destination: string,
  given: ConvertOptions = {},
): Promise<ConvertResult> {
  checkOptions('convertImage', given);
  const options = { ...given, retryTime: given.retryTime ?? defaultRetryTime };
  const started = performance.now();
  const settings = settingsOf(options);
  const [from, to] = [parseReference(source), parseReference(destination)];
  refuseNoEffect(destination, from, to, given);
  const {
    signal,
    onProgress,
    pool = new ConversionPool(options),
    ...asked
  } = options.keepForeign === true ? keepingForeign(options, settings) : options;
  const opened = await openSource(source, options);
  try {
    const orders = await openOrders(opened.store, options);
    const found = await openImageSet(opened.store, opened.reference, options);
    const set = { ...found, images: withoutCounterparts(found.images) };
    const run: ConversionRun = { source: opened.store, asked, settings, orders, pool };
    const call = { signal, onProgress };
    const { digest, manifests, leftOut } =
      to.transport === 'erofs-cache'
        ? await (await import('./erofs-cache/fill.js')).fillCache(run, set, to.path, call)
        : await writeImages(run, set, { source, destination, inputs: inputsOf(from, set, options) }, call);
    orders?.warnOfMissing(set.images, options);
    const warning = options.appendToIndex === true ? null : await lostNameWarning(from, to, set, digest);
    if (warning !== null) options.onWarning?.(warning);
    const seconds = (performance.now() - started) / 1000;
    const summary = { ...summarise(set, manifests), seconds, leftOut };
    return { source: publicName(source), destination: publicName(destination), digest, manifests, summary };
  } finally {
    await tidy(opened.store.close(), options);
  }
}

function inputsOf(
  from: Reference,
  set: ImageSet,
  { inputs = [], authFile, order }: ConvertOptions,
): InputFile[] {
  const others = [...inputs, authFile, orderFile({ order })].filter((path) => path !== undefined);
  return [...inputFiles(from, set), ...others.map((path) => ({ path }))];
}

/** No layer of the draft specification is passed through into an image of both kinds, either. */
function keepingForeign(options: ConvertOptions, { profile }: EncodeSettings): ConvertOptions {
  if (profile === 'containerd') return { ...options, profile };
  throw failure('USAGE', '--keep-foreign', `profile ${profile} has no images of both tars and EROFS`);
}

function summarise(
  set: ImageSet,
  manifests: ConvertResult['manifests'],
): Omit<ConvertResult['summary'], 'seconds' | 'leftOut'> {
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
  };
}
