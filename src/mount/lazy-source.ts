import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { readSeekableAnnotations, uncompressedDigestOf } from '../format/annotations';
import { failure, fromSystemError } from '../errors';
import type { ImageLayer } from '../image/image-layers';
import { openLocation } from '../layer/location';
import { isSeekableLayer } from '../layer/seekable';
import { parseReference } from '../oci/reference';
import { publicName } from '../public-name';
import { authFiles } from '../store/registry/auth-file';
import { Asker } from './ask-registry';
import type { LazySource } from './lazy-layers';
import { fileIdentities, realPaths } from './raw-file';
import type { MountSource, MountSourceOptions, SourceLayer } from './source-layer';
import { cachedLayer, vouchersOf } from './vouchers';

/**
 * A layer alone, of which nothing is read before the lazy server does; null, with a warning, of one that has to be mounted as a whole.
 * NOT_FOUND, IO of a file.
 */
export async function openLazySingle(
  location: string,
  options: MountSourceOptions,
): Promise<MountSource | null> {
  const name = publicName(location);
  const layer = await lazySingle(location, options);
  if (typeof layer === 'string') {
    options.onWarning?.(`${name}: it is mounted as a whole, not lazily: ${layer}`);
    return null;
  }
  const { descriptor, diffId } = layer;
  const devices = await realPaths(options.devices);
  const rootDigest = readSeekableAnnotations(descriptor.annotations)?.verity?.rootDigest ?? null;
  const asker = new Asker(() => openLocation(location, options), options.onWarning);
  const lazy = lazySource({ text: location }, layer, () => asker.ask(descriptor), options)!;
  const source: SourceLayer = {
    name,
    role: 'lower',
    devices: [],
    diffId,
    tree: rootDigest === null ? 'absent' : 'vouched',
    rootDigest,
    files: await fileIdentities(devices),
    lazy: { ...lazy, devices },
    cached: async (state, key, mode) => {
      const known = await cachedLayer(state, key, vouchersOf(layer, mode, options), mode);
      return known && { ...known, files: [...known.files, ...devices] };
    },
    prepare: () => Promise.reject(failure('FAILED', name, 'it is read lazily alone')),
  };
  return { name, image: null, layers: [source], config: null, close: () => Promise.resolve() };
}

/** What is known of a layer alone that can be read lazily; why it can't be. */
async function lazySingle(
  location: string,
  { descriptor }: MountSourceOptions,
): Promise<ImageLayer | string> {
  if (descriptor === undefined) return 'it has no descriptor';
  const diffId = descriptor.diffId ?? uncompressedDigestOf(descriptor);
  if (!isSeekableLayer(descriptor)) return 'its descriptor names no chunk table';
  if (diffId === null) return 'its descriptor does not say what it decodes to (diffId)';
  const reference = parseReference(location);
  if (reference.transport === 'http' && publicName(location) !== location)
    return 'its address may hold a secret, which the lazy server would have to keep';
  if (reference.transport === 'file' && !(await isPlainFile(reference.path))) return 'it is no plain file';
  return { descriptor: { ...descriptor, mediaType: descriptor.mediaType ?? '' }, diffId, index: null };
}

async function isPlainFile(path: string): Promise<boolean> {
  return stat(path).then(
    (status) => status.isFile(),
    (error: unknown) => {
      throw fromSystemError(path, error);
    },
  );
}

/** It is there once, for this process. */
function isStandardInput(text: string): boolean {
  const reference = parseReference(text);
  return 'path' in reference && reference.path === '-';
}

/** Null of a layer without a table of chunks: it is fetched whole and checked. */
export function lazySource(
  { text, image }: { text: string; image?: LazySource['image'] },
  layer: ImageLayer,
  ask: () => Promise<void>,
  options: MountSourceOptions,
): LazySource | null {
  const { descriptor, index } = layer;
  if (!isSeekableLayer(descriptor, index) || isStandardInput(text)) return null;
  return {
    descriptor,
    index: index?.descriptor ?? null,
    source: absolute(text),
    image,
    ...lazyAccess(options),
    vouchers: (mode) => vouchersOf(layer, mode, options),
    ask,
  };
}

/** Whether layers are to be read lazily that can be. */
export function isLazy({ lazy, record }: MountSourceOptions): boolean {
  return lazy === true || record !== undefined;
}

function lazyAccess(options: MountSourceOptions) {
  const { mirrors = [], authFile, certDir, insecureHttp, allowUnverified = false } = options;
  const absolutePath = (path: string | undefined) => (path === undefined ? undefined : resolve(path));
  // One that this process's environment names, the server does not know of.
  const named = authFiles(authFile).find(({ isRequired }) => isRequired)?.path;
  const access = { authFile: absolutePath(named), certDir: absolutePath(certDir), insecureHttp };
  return { mirrors, access, allowUnverified, prefetch: prefetchOf(options) };
}

function prefetchOf({ prefetch = 'auto' }: MountSourceOptions): LazySource['prefetch'] {
  if (prefetch === 'auto') return undefined;
  return prefetch === 'none' ? 'none' : { file: resolve(prefetch) };
}

/** The server has a working folder of its own. */
function absolute(text: string): string {
  const reference = parseReference(text);
  if (!('path' in reference)) return text;
  if (reference.transport === 'file') return resolve(reference.path);
  const name = 'reference' in reference ? `:${reference.reference}` : '';
  return `${reference.transport}:${resolve(reference.path)}${name}`;
}
