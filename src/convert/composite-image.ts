import { failure } from '../errors';
import { roleOf } from '../image/composition';
import { readIndexOf, type ImageLayer } from '../image/image-layers';
import { settingsOf } from '../layer/encode';
import { openWholeDevice } from '../layer/whole-layer';
import { copyBlob, hasLayer } from './copy-blob';
import type { ConvertedLayer } from './placed-layers';
import type { ConversionRun, LayerCall, StoreRun } from './run';

/** Images with layers of role `device` or `overlay-data`, which profile "erofs-image-spec" has alone. */

/** UNSUPPORTED, which says what such an image can't become. */
export function refuseComposite(layers: readonly ImageLayer[], target: string, what: string): void {
  const found = layers.find(({ descriptor }) => roleOf(descriptor) !== 'lower');
  if (found === undefined) return;
  const { digest, annotations } = found.descriptor;
  const why = `its layer ${digest} has the role ${annotations!['org.erofs.role']!}, which ${target} can not say`;
  throw failure('UNSUPPORTED', what, why, 'convert it with --profile erofs-image-spec');
}

/** How an image of these layers is converted: composite ones stay what they are where no profile was asked for. */
export function fittingRun<R extends ConversionRun>(run: R, layers: readonly ImageLayer[], what: string): R {
  const { asked } = run;
  if (layers.every(({ descriptor }) => roleOf(descriptor) === 'lower')) return run;
  if (asked.profile === 'containerd') refuseComposite(layers, 'profile containerd', what);
  const fitting = { ...asked, profile: 'erofs-image-spec' } as const;
  return { ...run, asked: fitting, settings: settingsOf(fitting) };
}

/**
 * How one of the layers of an image is converted. The draft demands that the last layer of a manifest is one that is mounted, so no index may
 * follow it.
 */
export function runOfLayer<R extends ConversionRun>(
  imageRun: R,
  layers: readonly ImageLayer[],
  layer: ImageLayer,
  what: string,
): R {
  const run = fittingRun(imageRun, layers, what);
  const { asked, settings } = run;
  if (settings.index !== 'standalone' || layer !== layers.at(-1)) return run;
  return { ...run, asked: { ...asked, index: 'embedded' }, settings: { ...settings, index: 'embedded' } };
}

/**
 * A layer of role `device`, as it is, with its lone index: images have its bytes by their places. It is checked whole, unless it is there
 * already.
 */
export async function keepDeviceLayer(
  { source, destination }: StoreRun,
  { layer, options }: LayerCall,
): Promise<ConvertedLayer> {
  const { descriptor, diffId, index } = layer;
  const kept = { ...layer, source: descriptor.digest, uncompressedSize: null, reused: true };
  if (await hasLayer(destination, layer)) return kept;
  const indexLayer = await readIndexOf(source, layer);
  const file = await source.openFile(descriptor, options);
  try {
    const own = { ...options, descriptor: { ...descriptor, diffId }, indexLayer };
    const device = await openWholeDevice(file, own);
    try {
      await device.decode(null, own);
    } finally {
      device.close();
    }
    await copyBlob(destination, file, descriptor, options);
  } finally {
    await file.close();
  }
  if (index !== null && !(await destination.has(index.descriptor)))
    await destination.writeBlob(index.descriptor, indexLayer!.payload);
  return kept;
}
