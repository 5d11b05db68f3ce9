import { failure } from '../errors';
import { isTarLayer } from '../format/media-types';
import type { EncodeSettings } from '../format/profiles';
import type { ImageLayer } from '../image/image-layers';
import type { Descriptor } from '../oci/types';
import type { ConvertOptions } from './convert-options';

/** Tars, each as the device of an EROFS image which has its metadata alone (`--device-tar`): for which layers, and how it is called. */

const what = '--device-tar';

/** USAGE for what goes with no such image. */
export function refuseUnlessDevices(options: ConvertOptions, { profile }: EncodeSettings): void {
  if (options.deviceTar !== true) return;
  if (profile === 'containerd')
    throw failure('USAGE', what, `profile ${profile} has no devices`, 'give --profile erofs-image-spec');
  const useless =
    options.mkfs !== undefined
      ? (['--mkfs', 'the built-in builder alone points into tars'] as const)
      : options.mkfsTarIndex === true
        ? (['--mkfs-tar-index', 'the built-in builder alone points into tars'] as const)
        : options.order !== undefined
          ? (['--order', 'the data of files stays where it is in the tar'] as const)
          : options.chunking === 'files'
            ? (['--chunking', 'the chunks have metadata alone'] as const)
            : null;
  if (useless !== null) throw failure('USAGE', what, useless[1], `leave out ${useless[0]}`);
}

/** Whether a layer is a tar that is to become a device. */
export function becomesDevice(
  { deviceTar }: Pick<ConvertOptions, 'deviceTar'>,
  { descriptor }: Pick<ImageLayer, 'descriptor'>,
): boolean {
  return deviceTar === true && isTarLayer(descriptor.mediaType);
}

/** What the image calls its device: the hex of the blob's digest, as the draft has it. */
export function deviceTag({ digest }: Pick<Descriptor, 'digest'>): string {
  return digest.slice(digest.indexOf(':') + 1).slice(0, 64);
}
