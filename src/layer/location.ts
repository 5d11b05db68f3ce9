import { failure } from '../errors';
import { parseReference } from '../oci/reference';
import type { ByteSource } from '../source/byte-source';
import { openInputFile } from '../source/input-file';
import type { HttpOptions } from '../source/http-range';
import { retryingSource, withRetries } from '../source/retry';

/** Where a single layer is: the path of a file, an `http:` or `https:` URL, or bytes that somebody else provides. */
export type LayerLocation = string | ByteSource;

/**
 * Opens the bytes of a layer; a source that is given is taken over. USAGE for references to images, and for a URL without a descriptor:
 * nothing else could tell the owner's blob from what the server makes of it.
 */
export async function openLocation(
  location: LayerLocation,
  options: HttpOptions & { descriptor?: unknown },
): Promise<ByteSource> {
  if (typeof location !== 'string') return location;
  const reference = parseReference(location);
  if (reference.transport === 'file') return openInputFile(reference.path, options);
  if (reference.transport !== 'http') {
    throw failure('USAGE', location, 'it names an image, not a layer', 'give the path or the URL of a blob');
  }
  if (options.descriptor === undefined) {
    const hint = 'give --descriptor FILE, what `encode --json` printed';
    throw failure('USAGE', location, 'a URL is read with a descriptor only', hint);
  }
  const { openHttpSource } = await import('../source/http-range.js'); // which loads HTTP and DNS
  const open = () => openHttpSource(reference.url, options);
  return retryingSource(await withRetries(open, {}, options.signal));
}
