import { resourcesOf } from '../layer/resources';
import { checkBlobDigest } from '../layer/content-digest';
import { formatDigest } from '../format/digest';
import type { ResourceOptions } from '../job';
import { native } from '../native/binding';
import { runNative } from '../native/run';
import type { BlobDraft, BlobFile, DestinationStore } from '../oci/store';
import type { Descriptor } from '../oci/types';

interface CopyJob {
  destination: DestinationStore;
  options: ResourceOptions;
}

/** Copies a blob as it is, unless the destination has it; its digest is checked before it becomes one there. */
export async function copyBlob(job: CopyJob, file: BlobFile, descriptor: Descriptor): Promise<void> {
  if (await job.destination.has(descriptor)) return;
  const draft = await draftOf(job, file, descriptor);
  await draft.commit(descriptor);
}

/** A draft with the bytes of `file`, which are those of `descriptor`; the file is not needed any more. */
export async function draftOf(
  { destination, options }: CopyJob,
  file: BlobFile,
  descriptor: Descriptor,
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
