import { isForeignLayer, isIndexType, isManifestType } from '../format/media-types';
import { readManifest } from '../oci/manifest';
import type { Descriptor } from '../oci/types';
import { draftOf } from './copy-blob';
import { copyForeignBlob } from './foreign-layer';
import type { LayerJob } from './layer';

/** Copies what is no image (an attestation, an artifact) as it is, with everything that it refers to. */
export async function copyManifest(
  job: Pick<LayerJob, 'source' | 'destination' | 'options'>,
  descriptor: Descriptor,
): Promise<void> {
  const parts = await partsOf(job, descriptor);
  for (const part of [...parts, descriptor]) {
    if (isForeignLayer(part.mediaType)) {
      await copyForeignBlob(job, part);
      continue;
    }
    if (await job.destination.has(part)) continue;
    const file = await job.source.openFile(part, job.options);
    try {
      await (await draftOf(job, file, part)).commit(part);
    } finally {
      await file.close();
    }
  }
}

async function partsOf({ source }: Pick<LayerJob, 'source'>, descriptor: Descriptor): Promise<Descriptor[]> {
  if (!isManifestType(descriptor.mediaType) || isIndexType(descriptor.mediaType)) return [];
  const document = await readManifest(source, descriptor);
  if (document.kind !== 'manifest') return [];
  return [document.manifest.config, ...document.manifest.layers];
}
