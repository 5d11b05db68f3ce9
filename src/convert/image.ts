import type { InputFile } from '../fs/same-file';
import type { ImageSet } from '../image/image-set';
import { inputFiles } from '../image/input-files';
import type { Reference } from '../oci/reference';
import { publicName } from '../public-name';
import type { ConvertOptions } from './convert-options';
import type { ConvertResult } from './convert-result';
import { lostNameWarning } from './onto-itself';
import { withOpenRun } from './open-run';
import { orderFile } from './order';
import { writeImages } from './write-images';

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
  const started = performance.now();
  return withOpenRun(source, destination, given, async ({ run, set, from, to, options, call }) => {
    const { digest, manifests, leftOut } =
      to.transport === 'erofs-cache'
        ? await (await import('./erofs-cache/fill.js')).fillCache(run, set, to.path, call)
        : await writeImages(run, set, { source, destination, inputs: inputsOf(from, set, options) }, call);
    run.orders?.warnOfMissing(set.images, options);
    const warning = options.appendToIndex === true ? null : await lostNameWarning(from, to, set, digest);
    if (warning !== null) options.onWarning?.(warning);
    const seconds = (performance.now() - started) / 1000;
    const summary = { ...summarise(set, manifests), seconds, leftOut };
    return { source: publicName(source), destination: publicName(destination), digest, manifests, summary };
  });
}

function inputsOf(
  from: Reference,
  set: ImageSet,
  { inputs = [], authFile, order }: ConvertOptions,
): InputFile[] {
  const others = [...inputs, authFile, orderFile({ order })].filter((path) => path !== undefined);
  return [...inputFiles(from, set), ...others.map((path) => ({ path }))];
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
    bytesOut: total(layers.map(({ size, device }) => size + (device?.size ?? 0))),
  };
}
