import { SeekableErofsError, exitCodes } from '../errors';
import type { JobOptions } from '../job';
import { checkBlobDigest } from '../layer/content-digest';
import { isArriving, type BlobFile } from '../oci/store';
import type { LayerImage } from '../layer/layer-image';
import type { Descriptor } from '../oci/types';

/** Work on a layer that is still being fetched: it is inflated and planned as it comes. */

/** Progress of that work, from the moment when the last byte is there: before that, fetching is what is waited for, and shows its own. */
export function progressOf(
  file: BlobFile,
  onProgress: JobOptions['onProgress'],
): Pick<JobOptions, 'onProgress'> {
  if (!isArriving(file) || onProgress === undefined) return { onProgress };
  let isThere = false;
  const arrived = (): void => {
    isThere = true;
  };
  file.arrival.then(arrived, () => undefined);
  return {
    onProgress: (event) => {
      if (isThere) onProgress(event);
    },
  };
}

/**
 * What is behind a fault of that work: the fetching failed, or the bytes, of which the work knows no more than that they are odd, are not
 * those of the descriptor (MISMATCH). Else the fault itself.
 */
export async function causeOf(
  fault: unknown,
  file: BlobFile,
  descriptor: Descriptor,
  options: JobOptions,
): Promise<unknown> {
  if (!isArriving(file) || !(fault instanceof SeekableErofsError)) return fault;
  const isOfData = exitCodes[fault.code] === exitCodes.CORRUPT || fault.code === 'UNSUPPORTED';
  if (!isOfData && fault.code !== 'CANCELLED') return fault;
  try {
    await file.arrival;
    if (isOfData && !file.isLetGo) await checkBlobDigest(file, descriptor, options);
    return fault;
  } catch (cause) {
    return cause;
  }
}

/**
 * Gives up the compressed bytes of a layer that was fetched, once they were inflated: nobody reads them again. True when that was so; then
 * they are those of the descriptor. MISMATCH when they are not.
 */
export async function giveUpInflated(
  file: BlobFile,
  { sourceDigest, hasDevice }: Pick<LayerImage, 'sourceDigest' | 'hasDevice'>,
  descriptor: Descriptor,
  options: JobOptions,
): Promise<boolean> {
  if (!isArriving(file) || sourceDigest === null || hasDevice) return false;
  await checkBlobDigest(file, descriptor, options, sourceDigest);
  await file.letGo();
  return true;
}
