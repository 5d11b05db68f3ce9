import { SeekableErofsError } from '../../errors';
import { isForeignLayer, isTarLayer, layerFormat } from '../../format/media-types';
import type { ReadOptions } from '../../layer/decode';
import { deviceSourceAt } from '../../layer/erofs-source';
import type { SourceStore } from '../../oci/store';
import type { ByteSource } from '../../source/byte-source';
import { compositionOf, readIndexOf, type ComposedLayer, type ImageLayer } from '../image-layers';
import { checkFittingLayers } from '../fitting-layers';
import type { Image } from '../image-set';
import { compareConfigs, type ConfigDifference } from './compare-configs';
import type { DifferenceList } from './differences';
import { checkLayer, type CheckedBlob, type LayerComparison } from './layer';

/** Where the layers of an image are read from. */
type LayerFiles = Pick<SourceStore, 'openBlob' | 'openFile'>;

/** What was compared of two images. */
export interface ImageComparison extends LayerComparison {
  config: ConfigDifference[];
  /** Digests of the source's layers that could not be compared. */
  notCompared: string[];
}

/** Two images, compared layer by layer. */
export class ImagePair {
  readonly total: ImageComparison = { entries: 0, bytes: 0, config: [], notCompared: [] };

  constructor(
    private readonly source: LayerFiles,
    private readonly converted: LayerFiles,
    private readonly differences: DifferenceList,
    private readonly options: ReadOptions,
  ) {}

  async check(source: Image, converted: Image): Promise<void> {
    await checkFittingLayers(this.source, source, this.options);
    await checkFittingLayers(this.converted, converted, this.options);
    this.total.config.push(...compareConfigs(source, converted));
    const expected = mountedLayersOf(source);
    const actual = mountedLayersOf(converted);
    for (let i = 0; i < Math.max(expected.length, actual.length); i++) {
      this.differences.enterLayer(i);
      await this.checkPosition(expected[i], actual[i], i === 0);
    }
  }

  private async checkPosition(
    expected?: ComposedLayer,
    actual?: ComposedLayer,
    isBottom = false,
  ): Promise<void> {
    const [wanted, found] = [expected?.descriptor, actual?.descriptor];
    if (wanted === undefined) {
      this.differences.add('/', 'extra', null, `layer ${found!.digest}`);
    } else if (found === undefined) {
      this.differences.add('/', 'missing', `layer ${wanted.digest}`, null);
    } else if (isForeignLayer(wanted.mediaType) && isTarLayer(found.mediaType)) {
      // Carried over, not converted.
      if (wanted.digest === found.digest) this.total.notCompared.push(wanted.digest);
      else this.differences.add('/', 'content', wanted.digest, found.digest);
    } else if (isTarLayer(found.mediaType)) {
      this.differences.add('/', 'type', 'layer that is EROFS', `layer that is ${found.mediaType}`);
    } else {
      await this.compareIfPossible(expected!, actual!, isBottom);
    }
  }

  private async compareIfPossible(expected: ComposedLayer, actual: ComposedLayer, isBottom: boolean) {
    const { digest, mediaType } = expected.descriptor;
    try {
      await this.compare(expected, actual, isBottom);
    } catch (error) {
      if (!(error instanceof SeekableErofsError)) throw error;
      const isAway = error.code === 'NOT_FOUND' && isForeignLayer(mediaType);
      if (!isAway && error.code !== 'UNVERIFIED') throw error;
      this.options.onWarning?.(`layer ${digest} is not compared: ${error.message}`);
      this.total.notCompared.push(digest);
    }
  }

  private async compare(expected: ComposedLayer, actual: ComposedLayer, isBottom: boolean): Promise<void> {
    const format = layerFormat(actual.descriptor.mediaType);
    const bottomLayer = isBottom && format?.kind === 'erofs' && format.profile === 'erofs-image-spec';
    const source = await this.open(this.source, expected);
    try {
      const converted = await this.open(this.converted, actual);
      try {
        const options = { ...this.options, bottomLayer };
        const { entries, bytes } = await checkLayer(source, converted, this.differences, options);
        this.total.entries += entries;
        this.total.bytes += bytes;
      } finally {
        await converted.close();
      }
    } finally {
      await source.close();
    }
  }

  private async open(store: LayerFiles, layer: ComposedLayer): Promise<OpenedLayer> {
    const opened: ByteSource[] = [];
    const close = async (): Promise<void> => {
      for (const source of opened) await source.close();
    };
    try {
      for (const device of layer.devices) opened.push(await this.openDevice(store, device));
      const devices = [...opened];
      const { descriptor, diffId } = layer;
      const indexLayer = await readIndexOf(store, layer);
      const file = await store.openFile(descriptor, this.options);
      opened.push(file);
      return { file, descriptor: { ...descriptor, diffId }, indexLayer, devices, close };
    } catch (error) {
      await close();
      throw error;
    }
  }

  private async openDevice(store: LayerFiles, layer: ImageLayer): Promise<ByteSource> {
    const { descriptor, diffId } = layer;
    const indexLayer = await readIndexOf(store, layer);
    const stored = await store.openBlob(descriptor);
    return deviceSourceAt(stored, { ...this.options, descriptor: { ...descriptor, diffId }, indexLayer });
  }
}

/** Closed with its devices. */
interface OpenedLayer extends CheckedBlob {
  close(): Promise<void>;
}

/** The layers whose files are compared: those that are mounted, data-only ones last. Devices come with the layers that use them. */
function mountedLayersOf(image: Image): ComposedLayer[] {
  const { lowers, data } = compositionOf(image);
  return [...lowers, ...data];
}
