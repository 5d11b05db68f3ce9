import type { ImageLayer } from '../image/image-layers';
import { chunkingAnnotation } from '../format/annotations';
import { gatherLayer } from '../lazy/gather-layer';
import { LazyFolder } from '../lazy/lazy-folder';
import type { SourceStore } from '../oci/store';
import { parseReference } from '../oci/reference';
import { layerRequest } from './lazy-layers';
import { lazySource } from './lazy-source';
import type { VerityMode } from './plan';
import type { MountSourceOptions } from './source-layer';
import type { MountState } from './state';

/**
 * Has a layer of a registry decoded chunk by chunk, those that other layers here have not fetched, where that may save much: its chunks begin
 * where files do. Chunks of equal length have repeated in no pair of releases, and files on this machine are fetched from nowhere.
 * @returns false when it has to be fetched as a whole
 * @throws as gatherLayer()
 */
export async function gatherFromOthers(
  from: { text: string; store: SourceStore },
  layer: ImageLayer,
  { state, key, mode }: { state: MountState; key: string; mode: VerityMode },
  options: MountSourceOptions,
): Promise<boolean> {
  if (parseReference(from.text).transport !== 'docker') return false;
  if (layer.descriptor.annotations?.[chunkingAnnotation] === undefined) return false;
  const source = lazySource(from, layer, () => Promise.resolve(), { ...options, mirrors: [] });
  if (source === null) return false;
  const request = layerRequest({ key, diffId: layer.diffId, mode }, source);
  const folder = await LazyFolder.open(state.option);
  return gatherLayer(request, { ...options, folder, from: from.store });
}
