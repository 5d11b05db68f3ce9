import { jsonText } from '../format/json';
import type { EncodeSettings } from '../format/profiles';
import { chunkingName } from '../layer/chunk-borders';
import { omit } from '../oci/json';
import { mkfsSettings } from '../layer/mkfs/options';
import type { ImageLayer } from '../image/image-layers';
import type { LayerOptions } from './run';

/** A layer that is seekable already matches any value of those that were not given. */
const matched = [
  ...(['index', 'noCompress', 'profile', 'chunkSize'] as const),
  ...(['dmVerity', 'dmVerityBlockSize', 'dmVerityHash'] as const),
];

/**
 * All that the blob made of a layer depends on, as text: the same key, the same bytes. Options that were not given count as well, since they
 * decide what is passed through.
 */
export function layerKey(
  { settings, options }: { settings: EncodeSettings; options: LayerOptions },
  { descriptor, diffId, index: indexLayer }: ImageLayer,
): string {
  const { digest, mediaType, annotations = {}, ...others } = omit(descriptor, 'size', 'data', 'urls');
  const { bottomLayer = false, hot, chunking, deviceTag } = options;
  const encoding = omit(settings, 'chunking', 'verity');
  const verity = settings.verity && {
    ...settings.verity,
    salt: Buffer.from(settings.verity.salt).toString('hex'),
  };
  const asked = matched.map((name) => options[name] !== undefined);
  const sorted = Object.entries(annotations).sort(([a], [b]) => (a < b ? -1 : 1));
  return jsonText([
    digest,
    diffId,
    mediaType,
    sorted,
    indexLayer?.descriptor.digest ?? null,
    bottomLayer,
    { ...encoding, verity },
    asked,
    mkfsSettings(options),
    ...(Object.keys(others).length > 0 ? [others] : []),
    ...(hot === undefined ? [] : [{ hot: hot.files.key }]),
    ...(settings.chunking === 'fixed' ? [] : [{ chunking: chunkingName(settings.chunkSize) }]),
    ...(chunking === undefined ? [] : ['chunking']),
    ...(deviceTag === undefined ? [] : [{ device: deviceTag }]),
  ]);
}
