import { isForeignLayer, isIndexType, isManifestType } from '../format/media-types';
import { readManifest } from '../oci/manifest';
import type { SourceStore } from '../oci/store';
import type { Descriptor } from '../oci/types';
import { draftOf } from './copy-blob';
import { copyForeignBlob, type CopyOptions } from './foreign-layer';
import type { StoreRun } from './run';

/** Copies what is no image (an attestation, an artifact) as it is, with everything that it refers to. */
export async function copyManifest(
  { source, destination }: Pick<StoreRun, 'source' | 'destination'>,
  descriptor: Descriptor,
  options: CopyOptions,
): Promise<void> {
  const parts = await partsOf(source, descriptor);
  for (const part of [...parts, descriptor]) {
    if (isForeignLayer(part.mediaType)) {
      await copyForeignBlob({ source, destination }, part, options);
      continue;
    }
    if (await destination.has(part)) continue;
    const file = await source.openFile(part, options);
    try {
      await (await draftOf(destination, file, part, options)).commit(part);
    } finally {
      await file.close();
    }
  }
}

async function partsOf(source: SourceStore, descriptor: Descriptor): Promise<Descriptor[]> {
  if (!isManifestType(descriptor.mediaType) || isIndexType(descriptor.mediaType)) return [];
  const document = await readManifest(source, descriptor);
  if (document.kind !== 'manifest') return [];
  return [document.manifest.config, ...document.manifest.layers];
}
