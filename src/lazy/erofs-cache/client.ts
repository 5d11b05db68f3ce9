import { resolve } from 'node:path';
import { failure } from '../../errors';
import { imageMeantBy } from '../../image-name';
import { checkOptions } from '../../options';
import { parseReference } from '../../oci/reference';
import { connectToServer } from '../client';
import type { CachedImageStatus, LazyConnection } from '../messages';
import { fullReference } from './reference';

/** Which lazy server: by its state folder. */
export interface LazyImagesOptions {
  /** Folder of the server; default: `/run/seekable-erofs`. */
  state?: string | undefined;
}

/** How an image is added. Files with secrets are named to the server, which reads them itself whenever it needs them. */
export interface AddLazyImageOptions extends LazyImagesOptions {
  /** An image that was made of it elsewhere: its layers stand in the place of the tars'. That they are the same is believed. */
  layersFrom?: string | undefined;
  /** `os/arch[/variant]` of an index; default: this machine's. */
  platform?: string | undefined;
  /** Registries that have the same blobs, tried in this order when the image's own fails. */
  mirrors?: readonly string[] | undefined;
  /** File with credentials, as `skopeo login --authfile` writes it. */
  authFile?: string | undefined;
  /** Folder with certificates of authorities to trust. */
  certDir?: string | undefined;
  /** Registries that don't answer TLS are spoken to in plain HTTP. */
  insecureHttp?: boolean | undefined;
  /** Take layers that nobody vouches for. */
  allowUnverified?: boolean | undefined;
  /** Ends the waiting; what the server has begun goes on. */
  signal?: AbortSignal | undefined;
}

/**
 * Has the lazy server show an image's layers in its `--erofs-cache`. Resolves when what they need to be mounted is there.
 * @throws FAILED when no server runs, or it has no cache; USAGE for an image of tars without `layersFrom`; NOT_FOUND, MISMATCH, IO
 */
export async function addLazyImage(
  reference: string,
  options: AddLazyImageOptions = {},
): Promise<CachedImageStatus> {
  checkOptions('addLazyImage', options);
  const {
    layersFrom,
    platform,
    mirrors = [],
    authFile,
    certDir,
    insecureHttp,
    allowUnverified = false,
  } = options;
  checkImage(reference);
  if (layersFrom !== undefined) checkImage(layersFrom);
  const absolute = (path: string | undefined): string | undefined => path && resolve(path);
  const access = { authFile: absolute(authFile), certDir: absolute(certDir), insecureHttp };
  const request = { platform, mirrors, access, allowUnverified };
  const from = layersFrom === undefined ? undefined : fullReference(layersFrom);
  return withServer(options, (server) =>
    unlessAborted(
      server.call('addImage', { ...request, reference: fullReference(reference), layersFrom: from }),
      options.signal,
    ),
  );
}

/** Takes an image out of the server's cache. @throws NOT_FOUND, FAILED when one of its layers is mounted */
export async function removeLazyImage(reference: string, options: LazyImagesOptions = {}): Promise<void> {
  checkOptions('removeLazyImage', options);
  await withServer(options, (server) => server.call('removeImage', { reference: fullReference(reference) }));
}

/** The images of the server's cache. */
export async function listLazyImages(options: LazyImagesOptions = {}): Promise<CachedImageStatus[]> {
  checkOptions('listLazyImages', options);
  return withServer(options, async (server) => (await server.call('images', {})).images);
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  const aborted = new Promise<never>((_, reject) => {
    const stop = (): void => {
      reject(failure('CANCELLED', 'lazy add', 'it was interrupted'));
    };
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
  });
  work.catch(() => undefined);
  return Promise.race([work, aborted]);
}

async function withServer<T>(
  { state }: LazyImagesOptions,
  use: (server: LazyConnection) => Promise<T>,
): Promise<T> {
  const server = await connectToServer(state);
  if (server === null) {
    const hint = 'serve --erofs-cache DIR, with the same --state';
    const whose = process.geteuid?.() === 0 ? '' : '; only root reaches one that root runs';
    throw failure('FAILED', 'lazy server', 'none runs', `${hint}${whose}`);
  }
  try {
    return await use(server);
  } finally {
    server.close();
  }
}

function checkImage(reference: string): void {
  const { transport } = parseReference(reference);
  if (transport !== 'http' && transport !== 'file' && transport !== 'erofs-cache') return;
  throw failure(
    'USAGE',
    reference,
    'it names no image',
    imageMeantBy(reference) ?? 'docker://host/repo:tag, for example',
  );
}
