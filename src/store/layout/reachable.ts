import { isIndexType, isManifestType } from '../../format/media-types';
import { SeekableErofsError } from '../../errors';
import { readManifest, type ManifestDocument } from '../../oci/manifest';
import type { SourceStore } from '../../oci/store';
import type { Descriptor } from '../../oci/types';

/**
 * The digests that `roots` lead to, their own included: those of manifests, configs and layers. A manifest that is not in the store leads
 * nowhere, as in an index of which only a part was copied.
 * @throws what readJson() throws for a manifest that is there and is damaged
 */
export async function reachableFrom(
  roots: readonly Descriptor[],
  store: Pick<SourceStore, 'readJson'>,
): Promise<Set<string>> {
  const reached = new Set<string>();
  const waiting = [...roots];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (reached.has(next.digest)) continue; // so a cycle, or one index many times in another, costs nothing
    reached.add(next.digest);
    const { mediaType } = next;
    if (isIndexType(mediaType) || isManifestType(mediaType)) waiting.push(...(await partsOf(next, store)));
  }
  return reached;
}

async function partsOf(descriptor: Descriptor, store: Pick<SourceStore, 'readJson'>): Promise<Descriptor[]> {
  let document: ManifestDocument;
  try {
    document = await readManifest(store, descriptor);
  } catch (error) {
    if (error instanceof SeekableErofsError && error.code === 'NOT_FOUND') return [];
    throw error;
  }
  if (document.kind === 'index') return document.index.manifests;
  const { config, layers, subject } = document.manifest;
  return [config, ...layers, ...(subject === undefined ? [] : [subject])];
}
