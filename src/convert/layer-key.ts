import { jsonText } from '../format/json';
import type { EncodeSettings } from '../format/profiles';
import { omit } from '../oci/json';
import { mkfsSettings } from '../layer/mkfs/options';
import type { ImageLayer } from '../image/image-layers';
import type { LayerOptions } from './run';

/**
 * All that the blob made of a layer depends on, as text: the same key, the same bytes. Options that were not given count as well, since they
 * decide what is passed through.
 */
export function layerKey(
  { settings, options }: { settings: EncodeSettings; options: LayerOptions },
  { descriptor, diffId, index: indexLayer }: ImageLayer,
): string {
  const { digest, mediaType, annotations = {}, ...others } = omit(descriptor, 'size', 'data', 'urls');
  const {
    bottomLayer = false,
    index,
    noCompress,
    profile,
    chunkSize,
    dmVerity,
    dmVerityBlockSize,
    dmVerityHash,
    hot,
  } = options;
  const verity = settings.verity && {
    ...settings.verity,
    salt: Buffer.from(settings.verity.salt).toString('hex'),
  };
  const asked = [index, noCompress, profile, chunkSize, dmVerity, dmVerityBlockSize, dmVerityHash].map(
    (value) => value !== undefined,
  );
  const sorted = Object.entries(annotations).sort(([a], [b]) => (a < b ? -1 : 1));
  return jsonText([
    digest,
    diffId,
    mediaType,
    sorted,
    indexLayer?.descriptor.digest ?? null,
    bottomLayer,
    { ...settings, verity },
    asked,
    mkfsSettings(options),
    ...(Object.keys(others).length > 0 ? [others] : []),
    ...(hot === undefined ? [] : [{ hot: hot.files.key }]),
  ]);
}
