import { SeekableErofsError, failure } from '../errors';
import { digestOf } from '../format/digest';
import { serializeJson } from '../format/json';
import { isManifestType, mediaTypes } from '../format/media-types';
import { maxTraceSize, parseTrace, type Trace } from '../format/trace';
import { parseManifest } from '../oci/manifest';
import { emptyConfig, referrerEntry } from '../oci/referrers';
import type { DestinationStore, SourceStore } from '../oci/store';
import type { Descriptor, Manifest } from '../oci/types';
import { checkContent } from '../store/blob-content';

/** A trace that belongs to an image: a manifest with the image's as its subject, and the trace as its only layer (docs/trace.md). */
interface AttachedTrace {
  trace: Trace;
  /** Its file, as it was attached. */
  bytes: Buffer;
  /** Digest of its manifest. */
  digest: string;
}

const createdAnnotation = 'org.opencontainers.image.created';
/** Of what is listed, the newest: somebody may list what is none. */
const maxLookedAt = 16;

/** Attaches a trace to the image with this manifest. Returns the digest of the manifest that says so. */
export async function attachTrace(
  destination: DestinationStore,
  { mediaType, digest, size }: Descriptor,
  bytes: Buffer,
  created: Date,
): Promise<string> {
  if (destination.addReferrer === undefined) throw noPlace(destination.name);
  const layer = { mediaType: mediaTypes.trace, digest: digestOf(bytes), size: bytes.length };
  await destination.writeBlob(emptyConfig.descriptor, emptyConfig.bytes);
  await destination.writeBlob(layer, bytes);
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    artifactType: mediaTypes.trace,
    config: emptyConfig.descriptor,
    layers: [layer],
    subject: { mediaType, digest, size },
    annotations: { [createdAnnotation]: created.toISOString() },
  } satisfies Manifest;
  const document = serializeJson(manifest, 'manifest of the trace');
  const descriptor = { mediaType: manifest.mediaType, digest: digestOf(document), size: document.length };
  await destination.addReferrer(digest, referrerEntry(descriptor, manifest), document);
  return descriptor.digest;
}

/**
 * The newest trace that is attached to the image with the manifest `digest`; null when there is none.
 * @param maxSize bytes of its file
 * @throws MISMATCH, CORRUPT, UNSUPPORTED for one that is damaged, too large or of a later version
 */
export async function findTrace(
  store: SourceStore,
  digest: string,
  maxSize = maxTraceSize,
): Promise<AttachedTrace | null> {
  const listed = (await store.referrers?.(digest, mediaTypes.trace)) ?? [];
  const time = ({ annotations }: Descriptor): number =>
    Date.parse(annotations?.[createdAnnotation] ?? '') || 0;
  const newest = listed
    .filter(({ mediaType }) => isManifestType(mediaType))
    .sort((a, b) => time(b) - time(a));
  for (const entry of newest.slice(0, maxLookedAt)) {
    const found = await readAttached(store, digest, entry, maxSize);
    if (found !== null) return found;
  }
  return null;
}

/** Null for what was listed and is gone, or is about something else. */
async function readAttached(
  store: SourceStore,
  subject: string,
  entry: Descriptor,
  maxSize: number,
): Promise<AttachedTrace | null> {
  const manifest = await readManifestOf(store, entry);
  if (manifest?.subject?.digest !== subject || manifest.artifactType !== mediaTypes.trace) return null;
  const [layer] = manifest.layers;
  const what = `trace ${entry.digest}`;
  if (layer === undefined || manifest.layers.length > 1) {
    throw failure('CORRUPT', what, `a trace has one layer, and this has ${manifest.layers.length}`);
  }
  if (layer.size > maxSize)
    throw failure('UNSUPPORTED', what, `${layer.size} bytes, the limit is ${maxSize}`);
  const blob = await store.openBlob(layer);
  try {
    const bytes = await blob.read(0, layer.size);
    checkContent(layer, bytes);
    return { trace: parseTrace(bytes, what), bytes, digest: entry.digest };
  } finally {
    await blob.close();
  }
}

async function readManifestOf(store: SourceStore, entry: Descriptor): Promise<Manifest | null> {
  try {
    return parseManifest(await store.readJson(entry), entry.digest);
  } catch (error) {
    if (error instanceof SeekableErofsError && error.code === 'NOT_FOUND') return null;
    throw error;
  }
}

function noPlace(name: string): SeekableErofsError {
  return failure(
    'USAGE',
    name,
    'nothing can be attached to what is there',
    'docker:// and oci: have a place for it',
  );
}
