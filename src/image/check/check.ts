import { failure } from '../../errors';
import type { ReadOptions } from '../../layer/decode';
import { parseReference } from '../../oci/reference';
import { openInputFile } from '../../source/input-file';
import { openSource } from '../../store/open';
import type { RegistryOptions } from '../../store/registry/options';
import { checkLayer, type LayerComparison } from './layer';
import type { ConfigDifference } from './compare-configs';
import { ImagePair, type ImageComparison } from './image-pair';
import { DifferenceList, type Difference } from './differences';
import { openImageSet, type PlatformSelection } from '../image-set';
import { checkSubjects } from '../subject';
import { checkOptions } from '../../options';
import { humanCount } from '../../quantity';
import { placesMeantBy } from '../../image-name';

/** What a conversion was found to have kept. */
export interface CheckResult {
  /** True when nothing differs, and everything was compared. */
  ok: boolean;
  /** Paths that the source's layers have, compared or missing. */
  entries: number;
  /** What the config says otherwise; none when two files are compared. */
  config: ConfigDifference[];
  /** Digests of the source's layers that could not be compared: not converted, not there, or with nothing to vouch for them. */
  notCompared: string[];
  /** By layer, then by the paths' bytes; at most `maxDifferences`. */
  differences: Difference[];
  /** How many more there are; absent when all are listed. */
  omitted?: number;
  summary: {
    /** Bytes of file data that were compared. */
    bytes: number;
  };
}

/** What checkImage() takes. `descriptor` is that of a converted file. */
export interface CheckOptions extends ReadOptions, RegistryOptions, Pick<PlatformSelection, 'platforms'> {
  /** How many differences are listed; the rest are counted. Default: 100. */
  maxDifferences?: number | undefined;
}

/**
 * Proves that a conversion lost nothing: works out by the policy (docs/format/tar-policy.md) what tree each tar layer of `source`
 * describes, and compares it, every path and every byte, with the converted layer in its place. A layer that was EROFS already is
 * compared image with image. Configs are compared as well. Takes two references (this machine's platform, unless some are named) or two files.
 * What differs is in the result; rejects when something can't be read, or isn't what its digest says.
 */
export async function checkImage(
  source: string,
  converted: string,
  options: CheckOptions = {},
): Promise<CheckResult> {
  checkOptions('checkImage', options);
  checkSubjects([source, converted], options);
  const differences = new DifferenceList(options.maxDifferences);
  const { entries, bytes, config, notCompared } = isPair(source, converted)
    ? await checkImages(source, converted, differences, options)
    : { ...(await checkFiles(source, converted, differences, options)), config: [], notCompared: [] };
  const list = differences.list();
  const omitted = differences.count - list.length;
  return {
    ok: differences.count === 0 && config.length === 0 && notCompared.length === 0,
    entries,
    config,
    notCompared,
    differences: list,
    ...(omitted > 0 && { omitted }),
    summary: { bytes },
  };
}

/** True for two images, false for two files. */
function isPair(source: string, converted: string): boolean {
  const [first, second] = [source, converted].map((text) => parseReference(text).transport);
  for (const [text, transport] of [[source, first] as const, [converted, second] as const]) {
    if (transport === 'http') throw failure('USAGE', text, 'a URL where a file or an image is expected');
  }
  if ((first === 'file') !== (second === 'file')) {
    const file = first === 'file' ? source : converted;
    const hint = placesMeantBy(file) ?? 'give two images or two files';
    throw failure('USAGE', file, 'an image and a file can not be compared', hint);
  }
  return first !== 'file';
}

async function checkFiles(
  source: string,
  converted: string,
  differences: DifferenceList,
  { descriptor, ...options }: CheckOptions,
): Promise<LayerComparison> {
  const file = await openInputFile(source, options);
  try {
    const other = await openInputFile(converted, options);
    try {
      return await checkLayer({ file }, { file: other, descriptor }, differences, options);
    } finally {
      await other.close();
    }
  } finally {
    await file.close();
  }
}

async function checkImages(
  source: string,
  converted: string,
  differences: DifferenceList,
  options: CheckOptions,
): Promise<ImageComparison> {
  const { platforms } = options;
  const first = await openSource(source, options);
  try {
    const second = await openSource(converted, options);
    try {
      const { images: wanted } = await openImageSet(first.store, first.reference, { platforms });
      const { images } = await openImageSet(second.store, second.reference, { platforms, feature: 'erofs' });
      if (images.length !== wanted.length) {
        throw failure(
          'USAGE',
          converted,
          `${humanCount(images.length, 'image')} to compare with ${wanted.length}`,
        );
      }
      const pairing = new ImagePair(first.store, second.store, differences, options);
      for (const [i, image] of wanted.entries()) await pairing.check(image, images[i]!);
      return pairing.total;
    } finally {
      await second.store.close();
    }
  } finally {
    await first.store.close();
  }
}
