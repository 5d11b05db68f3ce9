import { failure } from '../errors';
import type { EncodeSettings } from '../format/profiles';
import { openImageSet, type ImageSet } from '../image/image-set';
import type { JobOptions } from '../job';
import { settingsOf } from '../layer/encode';
import { parseReference, type Reference } from '../oci/reference';
import { checkOptions } from '../options';
import { openSource } from '../store/open';
import { withoutCounterparts } from './append-to-index';
import type { ConvertOptions } from './convert-options';
import { refuseUnlessDevices } from './device-tar';
import { refuseNoEffect } from './no-effect';
import { openOrders } from './order';
import { ConversionPool } from './pool';
import { tidy, type ConversionRun } from './run';

/** Milliseconds: a conversion that has taken its time is not lost because a registry is restarted. */
const defaultRetryTime = 60_000;

/** A conversion that is about to begin: what it reads, what for, and how. */
export interface OpenRun {
  run: ConversionRun;
  set: ImageSet;
  from: Reference;
  to: Reference;
  options: ConvertOptions;
  call: JobOptions;
}

/** Runs `use` on the images that `source` names. @throws USAGE for options that make no sense; NOT_FOUND, IO, CORRUPT of the source */
export async function withOpenRun<T>(
  source: string,
  destination: string,
  given: ConvertOptions,
  use: (opened: OpenRun) => Promise<T>,
): Promise<T> {
  checkOptions('convertImage', given);
  const options = { ...given, retry: { time: defaultRetryTime, ...given.retry } };
  const settings = settingsOf(options);
  const [from, to] = [parseReference(source), parseReference(destination)];
  refuseNoEffect(destination, from, to, given);
  refuseUnlessDevices(given, settings);
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
    return await use({ run, set, from, to, options, call: { signal, onProgress } });
  } finally {
    await tidy(opened.store.close(), options);
  }
}

/** No layer of the draft specification is passed through into an image of both kinds, either. */
function keepingForeign(options: ConvertOptions, { profile }: EncodeSettings): ConvertOptions {
  if (profile === 'containerd') return { ...options, profile };
  throw failure('USAGE', '--keep-foreign', `profile ${profile} has no images of both tars and EROFS`);
}
