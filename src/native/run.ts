import { failure } from '../errors';
import type { JobOptions } from '../job';
import { native, type NativeJob } from './binding';
import { fromNativeError } from './native-error';

const progressInterval = 100; // milliseconds

/**
 * Runs one native operation: an aborted signal cancels it, its progress is reported a few times a second, `item` says on
 * what. Rejects with SeekableErofsError.
 */
export async function runNative<T>(
  { signal, onProgress }: JobOptions,
  operation: (job: NativeJob) => Promise<T>,
  item?: string,
): Promise<T> {
  if (signal?.aborted === true) throw failure('CANCELLED', 'operation', 'cancelled');
  const job = new native.Job();
  const cancel = (): void => {
    job.cancel();
  };
  const report = (): void => {
    const progress = job.progress();
    if (progress.total === 0) return; // not begun yet, or nothing to do
    onProgress?.({ ...progress, ...(item === undefined ? {} : { item }), unit: 'bytes' });
  };
  signal?.addEventListener('abort', cancel, { once: true });
  const timer = onProgress === undefined ? undefined : setInterval(report, progressInterval).unref();
  try {
    const result = await operation(job);
    report();
    return result;
  } catch (error) {
    throw fromNativeError(error);
  } finally {
    clearInterval(timer);
    signal?.removeEventListener('abort', cancel);
  }
}
