import { resourcesOf } from '../layer/resources';
import { checkBlobDigest } from '../layer/content-digest';
import { formatDigest } from '../format/digest';
import type { ResourceOptions } from '../job';
import { native } from '../native/binding';
import { runNative } from '../native/run';
import type { BlobFile, DestinationStore } from '../oci/store';
import type { Descriptor } from '../oci/types';

/** Copies a blob as it is, unless the destination has it; its digest is checked before it becomes one there. */
export async function copyBlob(
  { destination, options }: { destination: DestinationStore; options: ResourceOptions },
  file: BlobFile,
  descriptor: Descriptor,
): Promise<void> {
  if (await destination.has(descriptor)) return;
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
    await draft.commit(descriptor);
  } catch (error) {
    await draft.discard();
    throw error;
  } finally {
    source.close();
  }
}
