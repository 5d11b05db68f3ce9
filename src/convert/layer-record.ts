import { createHash } from 'node:crypto';
import { failure } from '../errors';
import { isDigest } from '../format/digest';
import { native } from '../native/binding';
import { parseDescriptor } from '../oci/descriptor';
import { asObject } from '../oci/json';
import type { ConvertedLayer } from './placed-layers';

/** To be raised when the bytes that a conversion makes change, or what is recorded of them. */
export const layerVersion = 3;

/** A converted layer as it is kept for others: all but the source, which differs in nothing that matters. */
export type LayerRecord = Omit<ConvertedLayer, 'source' | 'reused'>;

/** What a layer with this key (layer-key.ts) is kept under, in hex: the same name, the same bytes, also by another build of this program. */
export function layerName(key: string): string {
  return createHash('sha256')
    .update(JSON.stringify([native.features().zstd, key]))
    .digest('hex');
}

/** What is written down of a layer. */
export function recordOf(layer: LayerRecord): object {
  const { descriptor, diffId, index, device, uncompressedSize, hides } = layer;
  return {
    descriptor,
    diffId,
    index: index ?? null,
    uncompressedSize,
    ...(device && { device }),
    ...(hides && { hides }),
  };
}

/** Reads what recordOf() gave. CORRUPT, about `what`, for anything else. */
export function parseLayerRecord(record: Record<string, unknown>, what: string): LayerRecord {
  const { uncompressedSize: size, device = null, hides, ...entry } = record;
  if (hides !== undefined && !(Array.isArray(hides) && hides.every((i) => Number.isSafeInteger(i) && i >= 0)))
    throw failure('CORRUPT', what, 'bad hides');
  if (size !== null && !Number.isSafeInteger(size)) throw failure('CORRUPT', what, 'bad uncompressedSize');
  return {
    ...parseIndexed(entry, what),
    device: device === null ? null : parseIndexed(asObject(device, what), what),
    uncompressedSize: size as number | null,
    hides: hides as number[] | undefined,
  };
}

function parseIndexed({ index = null, ...entry }: Record<string, unknown>, what: string) {
  return {
    ...parseEntry(entry, what),
    index: index === null ? null : parseEntry(asObject(index, what), what),
  };
}

function parseEntry({ descriptor, diffId }: Record<string, unknown>, what: string) {
  if (typeof diffId !== 'string' || !isDigest(diffId)) throw failure('CORRUPT', what, 'bad diffId');
  return { descriptor: parseDescriptor(descriptor, what), diffId };
}
