import { formatDigest } from '../format/digest';
import type { ResourceOptions } from '../job';
import { checkBlobDigest } from '../layer/content-digest';
import { resourcesOf } from '../layer/resources';
import { native } from '../native/binding';
import { runNative } from '../native/run';
import type { BlobDraft, BlobFile, DestinationStore, SourceStore } from '../oci/store';
import type { Descriptor } from '../oci/types';
import { partsOf, type NewLayer } from './placed-layers';

/** Whether a destination has a layer, and what goes with it: its device, and chunk indexes that are layers of their own. */
export async function hasLayer(destination: DestinationStore, layer: NewLayer): Promise<boolean> {
  for (const { descriptor } of partsOf(layer)) if (!(await destination.has(descriptor))) return false;
  return true;
}

/** Copies a blob as it is, unless the destination has it; its digest is checked before it becomes one there. */
export async function copyBlob(
  destination: DestinationStore,
  file: BlobFile,
  descriptor: Descriptor,
  options: ResourceOptions,
): Promise<void> {
  if (await destination.has(descriptor)) return;
  const draft = await draftOf(destination, file, descriptor, options);
  await draft.commit(descriptor);
}

/** As copyBlob(), of a blob that a store has: it is fetched only when it is needed. */
export async function copyBlobFrom(
  store: SourceStore,
  destination: DestinationStore,
  descriptor: Descriptor,
  options: ResourceOptions,
): Promise<void> {
  if (await destination.has(descriptor)) return;
  const file = await store.openFile(descriptor, options);
  try {
    const draft = await draftOf(destination, file, descriptor, options);
    await draft.commit(descriptor);
  } finally {
    await file.close();
  }
}

/** A draft with the bytes of `file`, which are those of `descriptor`; the file is not needed any more. */
export async function draftOf(
  destination: DestinationStore,
  file: BlobFile,
  descriptor: Descriptor,
  options: ResourceOptions,
): Promise<BlobDraft> {
  const { threads } = resourcesOf(options);
  const draft = await destination.createBlob();
  const source = new native.Source(file);
  try {
    const target = { fd: draft.fd, name: draft.name, offset: 0 };
    const copied = await runNative(
      options,
      (job) => native.writeSource(source, target, { threads }, job),
      descriptor.digest,
    );
    await checkBlobDigest(file, descriptor, options, formatDigest('sha256', copied));
    return draft;
  } catch (error) {
    await draft.discard();
    throw error;
  } finally {
    source.close();
  }
}
