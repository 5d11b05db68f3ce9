import { specAnnotations, stripLazyAnnotations } from '../format/annotations';
import { isErofsLayer, layerFormat } from '../format/media-types';
import { omit } from '../oci/json';
import type { Descriptor, ImageConfig } from '../oci/types';

/** A layer in the place of another one. */
export interface NewLayer {
  descriptor: Descriptor;
  diffId: string;
  /** Its chunk index, where that is a layer of its own. */
  index?: PlacedPart | null | undefined;
  /** The device that its image points into, which stands before it. */
  device?: PlacedDevice | null | undefined;
}

/** A layer as a manifest and a config have it. */
export interface PlacedPart {
  descriptor: Descriptor;
  diffId: string;
}

/** A device; the index that stands behind it is of one that was made of a compressed tar. */
export interface PlacedDevice extends PlacedPart {
  index?: PlacedPart | null | undefined;
}

/** A layer of the source, and what took its place. */
export interface ConvertedLayer extends NewLayer {
  /** Digest of the source's layer. */
  source: string;
  /** Bytes of the raw image; null of a layer that was kept and is no EROFS. */
  uncompressedSize: number | null;
  /** Passed through as it was, or converted before. */
  reused: boolean;
  /** Of the files that were to come first in it, those that it hides in the layers below; absent where there were none, or nobody knows. */
  hides?: readonly number[] | undefined;
}

type History = NonNullable<ImageConfig['history']>;

const lowerRole = 'overlay-lower';

/** No time: the same layers make the same image. */
const indexEntry: History[number] = {
  created_by: 'seekable-erofs convert',
  comment: 'chunk index of the layer before',
};

const deviceEntry: History[number] = {
  created_by: 'seekable-erofs convert',
  comment: 'file data of the layer behind',
};

/**
 * The layers as the manifest has them: roles of profile "erofs-image-spec" by their place, devices before what points into them, and
 * indexes behind what they are for.
 */
export function placeLayers(layers: readonly NewLayer[]): PlacedPart[] {
  return layers.flatMap((layer, i) => {
    const isTop = i === layers.length - 1;
    return partsOf({ ...layer, descriptor: withRole(withoutOtherFormats(layer.descriptor), isTop) });
  });
}

/** A layer and what goes with it, in the order of a manifest. */
export function partsOf({ descriptor, diffId, index, device }: NewLayer): PlacedPart[] {
  const ofDevice = device && { descriptor: device.descriptor, diffId: device.diffId };
  return [ofDevice, device?.index, { descriptor, diffId }, index].filter((part) => part != null);
}

/** An EROFS layer has no annotations of other lazy formats, which point into the tar that it was: not one that is passed through, either. */
function withoutOtherFormats(descriptor: Descriptor): Descriptor {
  if (descriptor.annotations === undefined || !isErofsLayer(descriptor.mediaType)) return descriptor;
  return { ...descriptor, annotations: stripLazyAnnotations(descriptor.annotations) };
}

/** All but the top layer of an image are lower ones; another role that a layer has stays. */
function withRole(descriptor: Descriptor, isTop: boolean): Descriptor {
  const format = layerFormat(descriptor.mediaType);
  if (format?.kind !== 'erofs' || format.profile !== 'erofs-image-spec') return descriptor;
  const { [specAnnotations.role]: role = lowerRole, ...others } = descriptor.annotations ?? {};
  const isGone = isTop && role === lowerRole;
  const annotations = isGone ? others : { ...others, [specAnnotations.role]: role };
  if (Object.keys(annotations).length === 0) return omit(descriptor, 'annotations');
  return { ...descriptor, annotations };
}

/**
 * A history with an entry for each layer, as tools expect it: one for each device before and each lone index behind that of its layer or device, none
 * any more where the old image had an index. `old` says of each old layer whether it was followed by one.
 */
export function placeHistory(
  history: History,
  old: readonly { index: unknown }[],
  layers: readonly NewLayer[],
): History {
  const about = old.flatMap(({ index }) => (index === null ? ['layer'] : ['layer', 'index']));
  const isFilled = (entry: History[number]): boolean => entry.empty_layer !== true;
  // A history that has not an entry for each layer says nothing of them.
  if (history.filter(isFilled).length !== about.length) return history;
  let at = 0;
  let number = 0;
  return history.flatMap((entry) => {
    if (!isFilled(entry)) return [entry];
    if (about[at++] === 'index') return [];
    const { device, index } = layers[number++] ?? {};
    const indexOf = (part: Pick<NewLayer, 'index'> | null | undefined) =>
      part?.index == null ? [] : [indexEntry];
    return [...(device == null ? [] : [deviceEntry, ...indexOf(device)]), entry, ...indexOf({ index })];
  });
}
