import { chunkingAnnotation } from '../format/annotations';
import type { EncodeSettings } from '../format/profiles';
import type { ImageLayer } from '../image/image-layers';
import { chunkingName } from '../layer/chunk-borders';
import type { LoneIndex } from '../layer/chunk-index-section';
import { settingsOf } from '../layer/encode';
import { isCutInto, openSeekable, type SeekableBlob } from '../layer/seekable';
import { unlessUnreadable } from '../layer/whole-layer';
import { hasLayer } from './copy-blob';
import type { ConvertedLayer } from './placed-layers';
import type { ConversionRun, LayerCall, StoreRun } from './run';

/** Seekable layers that are as they were asked for: they stay as they are, to the byte. */

/** Such a layer, where the destination has it already: only its table is read. Null for all others. */
export async function findAtDestination(
  run: StoreRun,
  { layer, options }: LayerCall,
  indexLayer: LoneIndex | undefined,
): Promise<ConvertedLayer | null> {
  const { descriptor } = layer;
  if (!(await hasLayer(run.destination, layer))) return null;
  const file = await run.source.openBlob(descriptor);
  try {
    const blob = await unlessUnreadable(openSeekable(file, { ...options, descriptor, indexLayer }));
    return blob !== null && matchesRequest(blob, layer, run, indexLayer) ? passedThrough(blob, layer) : null;
  } finally {
    await file.close();
  }
}

/** What became of a layer that stays as it is. */
export function passedThrough(blob: SeekableBlob, layer: ImageLayer): ConvertedLayer {
  return { ...layer, source: layer.descriptor.digest, uncompressedSize: blob.imageSize, reused: true };
}

/** Whether a blob is as it was asked for. Options that were not given match anything. */
export function matchesRequest(
  blob: SeekableBlob,
  layer: Pick<ImageLayer, 'descriptor'>,
  { settings, asked }: ConversionRun,
  indexLayer: LoneIndex | undefined,
): boolean {
  const { profile, section } = blob;
  return (
    (asked.profile === undefined || settings.profile === profile) &&
    isCutAsAsked(blob, layer, settings, asked) &&
    (asked.index === undefined || (settings.index === 'standalone') === (indexLayer !== undefined)) &&
    (asked.noCompress === undefined || settings.compression === section.frames.compression) &&
    hasTreeAsAsked(blob, settings, asked)
  );
}

function hasTreeAsAsked(
  { tree, lacksSuperblock }: SeekableBlob,
  { verity: wanted }: EncodeSettings,
  asked: ConversionRun['asked'],
): boolean {
  if (lacksSuperblock) return false; // nobody could use its tree
  const vouched = tree?.vouched === true ? tree.superblock : null;
  if (asked.dmVerity !== undefined && asked.dmVerity !== (vouched !== null)) return false;
  if (wanted === null) return true;
  return (
    (asked.dmVerityBlockSize === undefined || wanted.blockSize === vouched?.dataBlockSize) &&
    (asked.dmVerityHash === undefined || wanted.algorithm === vouched?.algorithm)
  );
}

/** Of borders that were chosen by files, the table does not tell how: the descriptor does, or a layer is cut anew. */
function isCutAsAsked(
  blob: SeekableBlob,
  { descriptor: { annotations = {} } }: Pick<ImageLayer, 'descriptor'>,
  { chunking, chunkSize }: EncodeSettings,
  asked: ConversionRun['asked'],
): boolean {
  if (chunking === 'files') return annotations[chunkingAnnotation] === chunkingName(chunkSize);
  if (asked.chunkSize !== undefined) return isCutInto(blob, chunkSize);
  return asked.chunking === undefined || blob.section.chunkSize !== null;
}

/** A layer that had a tree keeps one when nothing was said of that. */
export function settingsWithTree(
  { settings, asked }: ConversionRun,
  { tree, lacksSuperblock }: SeekableBlob,
): EncodeSettings {
  const hadTree = tree?.vouched ?? lacksSuperblock;
  return asked.dmVerity === undefined && hadTree ? settingsOf({ ...asked, dmVerity: true }) : settings;
}
