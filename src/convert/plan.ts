import { layerFormat, streamCompression } from '../format/media-types';
import { checkVisiblyFitting } from '../image/fitting-layers';
import { layersOf, readIndexOf, type ImageLayer } from '../image/image-layers';
import type { Image } from '../image/image-set';
import type { JobOptions } from '../job';
import { resourcesOf } from '../layer/resources';
import { isSeekableLayer, openSeekable } from '../layer/seekable';
import { unlessUnreadable } from '../layer/whole-layer';
import type { SourceStore } from '../oci/store';
import type { Descriptor } from '../oci/types';
import { publicName } from '../public-name';
import { openExisting } from '../store/open';
import { runOfLayer } from './composite-image';
import type { ConvertOptions } from './convert-options';
import { isBottom, isKept } from './converted-image';
import { cachedEntry } from './erofs-cache/cache';
import { cachedRecord } from './layer-cache';
import { layerKey } from './layer-key';
import { becomesDevice } from './device-tar';
import { withOpenRun } from './open-run';
import { matchesRequest } from './pass-through';
import { layerCall, type ConversionRun } from './run';
import { encodeSeconds, likelyMetadata, likelySize } from './estimate';

/**
 * What a conversion would do with a layer: `convert` it; `reuse` what a cache has of it; `keep` it as it is, because it is as asked for, or
 * of a type that is to be kept; `none` where it occurs twice, and was named before.
 */
export type PlannedAction = 'convert' | 'reuse' | 'keep' | 'none';

/** What would become of a layer. */
export interface PlannedLayer {
  /** Digest of the source's layer. */
  source: string;
  /** Bytes of the source's layer. */
  size: number;
  action: PlannedAction;
  /** Bytes that would be read of the source. */
  bytesRead: number;
  /** Bytes that would be written: a guess for a layer that is converted, else exact. */
  bytesWritten: number;
}

/** What a conversion would do; nothing was written to find it out. */
export interface ConversionPlan {
  source: string;
  destination: string;
  manifests: { platform: string; digest: string; layers: PlannedLayer[] }[];
  /** Of all layers. The seconds are those of the work, not of a network. */
  total: { bytesRead: number; bytesWritten: number; seconds: number } & Record<
    Exclude<PlannedAction, 'none'>,
    number
  >;
}

/**
 * Finds out what convertImage() would do: manifests and the tables of seekable layers are read, nothing is written. A layer that was
 * converted before is known by the cache alone: what is at a destination can't be told before.
 */
export async function planConversion(
  source: string,
  destination: string,
  options: ConvertOptions = {},
): Promise<ConversionPlan> {
  return withOpenRun(source, destination, options, async ({ run, set, to, call }) => {
    const holdsBlobs = to.transport === 'oci' || to.transport === 'docker';
    const there = holdsBlobs ? await openExisting(destination, options).catch(() => null) : null;
    const erofsCache = to.transport === 'erofs-cache' ? to.path : null;
    try {
      const planner = new Planner(run, call, there?.store ?? null, erofsCache);
      const manifests: ConversionPlan['manifests'] = [];
      for (const image of set.images) manifests.push(await planner.image(image));
      const names = { source: publicName(source), destination: publicName(destination) };
      const total = totalOf(manifests, planner.seconds(resourcesOf(options).threads));
      return { ...names, manifests, total };
    } finally {
      await there?.store.close();
    }
  });
}

class Planner {
  private readonly seen = new Set<string>();
  /** Of one thread. */
  private work = 0;

  constructor(
    private readonly run: ConversionRun,
    private readonly call: JobOptions,
    private readonly there: SourceStore | null,
    private readonly erofsCache: string | null,
  ) {}

  seconds(threads: number): number {
    return this.work / threads;
  }

  async image(image: Image): Promise<ConversionPlan['manifests'][number]> {
    const layers: PlannedLayer[] = [];
    const all = layersOf(image);
    await checkVisiblyFitting(this.run.source, image, { ...this.run.asked, ...this.call });
    for (const layer of all) {
      const run = runOfLayer(this.run, all, layer, image.descriptor.digest);
      layers.push(await this.layer(run, layer, all[0]!));
    }
    return { platform: image.platform, digest: image.descriptor.digest, layers };
  }

  private async layer(run: ConversionRun, layer: ImageLayer, bottom: ImageLayer): Promise<PlannedLayer> {
    const { digest, size } = layer.descriptor;
    const planned = (action: PlannedAction, bytesRead: number, bytesWritten: number): PlannedLayer => ({
      source: digest,
      size,
      action,
      bytesRead,
      bytesWritten,
    });
    const { settings, asked } = run;
    const options = {
      ...layerCall(run, layer, this.call).options,
      bottomLayer: isBottom(run, layer, bottom),
    };
    const key = layerKey({ settings, options }, layer);
    if (this.seen.has(key)) return planned('none', 0, 0);
    this.seen.add(key);
    if (await this.staysAsItIs(run, layer)) {
      const isThere = await this.isThere(layer.descriptor);
      return planned('keep', isThere ? 0 : size, isThere ? 0 : size);
    }
    // What is laid out by a trace depends on the layers above.
    const known = await this.known(layer, asked.order === undefined ? key : null);
    if (known !== null) return planned('reuse', 0, known);
    const isDevice = becomesDevice(asked, layer);
    const metadata = isDevice ? likelyMetadata(layer.descriptor) : 0;
    if (isDevice && streamCompression(layer.descriptor.mediaType) === 'none') {
      const copied = (await this.isThere(layer.descriptor)) ? 0 : size;
      return planned('convert', size, copied + metadata);
    }
    this.work += encodeSeconds(layer.descriptor, settings);
    return planned('convert', size, likelySize(layer.descriptor, settings) + metadata);
  }

  private async staysAsItIs(run: ConversionRun, layer: ImageLayer): Promise<boolean> {
    const { descriptor } = layer;
    if (this.erofsCache !== null) return false;
    if (isKept(run, layer)) return true;
    if (layerFormat(descriptor.mediaType)?.kind !== 'erofs') return false;
    const indexLayer = await readIndexOf(run.source, layer);
    if (!isSeekableLayer(descriptor, indexLayer)) return false;
    const blob = await run.source.openBlob(descriptor);
    try {
      const opened = await unlessUnreadable(
        openSeekable(blob, { ...run.asked, ...this.call, descriptor, indexLayer }),
      );
      return opened !== null && matchesRequest(opened, layer, run, indexLayer);
    } finally {
      await blob.close();
    }
  }

  /** Bytes that would be written of a layer that was converted before; null when it was not, or nobody knows. */
  private async known({ diffId }: ImageLayer, key: string | null): Promise<number | null> {
    const { asked, settings } = this.run;
    if (this.erofsCache !== null) {
      const entry = await cachedEntry(this.erofsCache, diffId, settings.verity !== null);
      return entry === null ? null : 0;
    }
    if (asked.cache === undefined || key === null) return null;
    const record = await cachedRecord(asked.cache, key);
    if (record === null) return null;
    return (await this.isThere(record.descriptor)) ? 0 : record.descriptor.size;
  }

  private async isThere(descriptor: Descriptor): Promise<boolean> {
    const blob = await this.there?.openBlob(descriptor).catch(() => null);
    await blob?.close();
    return blob != null;
  }
}

function totalOf(manifests: ConversionPlan['manifests'], seconds: number): ConversionPlan['total'] {
  const layers = manifests.flatMap((manifest) => manifest.layers);
  const ofLayer = ({ action, bytesRead, bytesWritten }: PlannedLayer): ConversionPlan['total'] => ({
    ...nothing,
    ...(action !== 'none' && { [action]: 1, bytesRead, bytesWritten }),
  });
  return { ...sumOf(layers.map(ofLayer)), seconds };
}

const nothing: ConversionPlan['total'] = {
  convert: 0,
  reuse: 0,
  keep: 0,
  bytesRead: 0,
  bytesWritten: 0,
  seconds: 0,
};

/** The sum of several totals. */
export function sumOf(totals: readonly ConversionPlan['total'][]): ConversionPlan['total'] {
  const sum = { ...nothing };
  for (const total of totals)
    for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += total[name];
  return sum;
}
