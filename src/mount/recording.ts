import { randomUUID } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { failure, fromSystemError } from '../errors';
import { refuseInputAsOutput } from '../fs/same-file';
import type { RecordRequest } from '../lazy/trace-recorder';
import { parseReference } from '../oci/reference';
import type { MountSource, MountSourceOptions } from './source-layer';

/**
 * What the lazy server is asked to record; null when nothing is. USAGE for what is no image, and for a file that the image is read from; the
 * error of its folder where the trace could not be written.
 */
export async function recordRequest(
  refOrPath: string,
  { image, layers }: MountSource,
  { record, authFile, prefetch }: MountSourceOptions,
): Promise<RecordRequest | null> {
  if (record === undefined) return null;
  if (image === null || !layers.some(({ lazy }) => lazy !== null)) {
    throw failure('USAGE', refOrPath, 'only reads of a seekable image are recorded', 'leave out --record');
  }
  const file = resolve(record);
  await stat(dirname(file)).catch((error: unknown) => {
    throw fromSystemError(dirname(file), error);
  });
  const reference = parseReference(refOrPath);
  const source = 'path' in reference ? reference.path : undefined;
  const inputs = [source, authFile, prefetch].filter((path) => path !== undefined);
  await refuseInputAsOutput(
    file,
    inputs.map((path) => ({ path })),
  );
  return { id: randomUUID(), file, image: image.reference, platform: image.platform, started: Date.now() };
}
