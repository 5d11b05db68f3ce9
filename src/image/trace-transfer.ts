import { failure } from '../errors';
import { isManifestType } from '../format/media-types';
import { writeOutput } from '../fs/output-file';
import { writeFully } from '../fs/write-fully';
import type { ResourceOptions, WarningOptions } from '../job';
import { parsePlatform, platformMatches } from '../oci/platform';
import { parseReference } from '../oci/reference';
import type { Descriptor } from '../oci/types';
import { checkOptions } from '../options';
import { publicName } from '../public-name';
import { openDestination, openSource } from '../store/open';
import type { RegistryOptions } from '../store/registry/options';
import { attachTrace, findTrace } from './attached-trace';
import { openImageSet, type ImageSet } from './image-set';
import { inputFiles } from './input-files';
import { checkSubjects } from './subject';
import { readTraceFile } from './trace-file';
import { placesMeantBy } from '../image-name';

/** What pushTrace() takes. */
export interface PushTraceOptions extends ResourceOptions, RegistryOptions, WarningOptions {}

/** What pullTrace() takes. */
export interface PullTraceOptions extends PushTraceOptions {
  /** `os/arch[/variant]` of an index; default: this machine's. */
  platform?: string | undefined;
}

/** Where a trace was attached. */
export interface PushedTrace {
  image: string;
  /** `os/arch[/variant]`, as the trace says. */
  platform: string;
  /** Digests of the image's manifest, and of the one that has it as its subject. */
  manifests: { subject: string; digest: string }[];
}

/** A trace that was attached to an image. */
export interface PulledTrace {
  image: string;
  /** Digest of the image's manifest, and of the one that has it as its subject. */
  subject: string;
  digest: string;
  platform: string;
  files: number;
}

/**
 * Attaches the trace in a file (`-`: standard input) to an image in a registry or a layout: to its manifest, and in an index to those for the
 * trace's platform, as tars and as EROFS. Earlier traces stay, and the newest counts.
 * @throws USAGE for other places, NOT_FOUND when there is no image for that platform; else as readTrace() and the store
 */
export async function pushTrace(
  file: string,
  reference: string,
  options: PushTraceOptions = {},
): Promise<PushedTrace> {
  checkOptions('pushTrace', options);
  checkPlace(reference, options);
  const { trace, bytes } = await readTraceFile(file, options);
  const subjects = await subjectsOf(reference, trace.platform, options);
  const { store } = await openDestination(placeOf(reference), options);
  const { onProgress } = options;
  const total = subjects.length * bytes.length;
  try {
    const manifests: PushedTrace['manifests'] = [];
    for (const subject of subjects) {
      onProgress?.({ phase: 'push', done: manifests.length * bytes.length, total, unit: 'bytes' });
      const digest = await attachTrace(store, subject, bytes, new Date());
      manifests.push({ subject: subject.digest, digest });
    }
    onProgress?.({ phase: 'push', done: total, total, unit: 'bytes' });
    await store.close();
    return { image: publicName(reference), platform: trace.platform, manifests };
  } catch (error) {
    await store.abort();
    throw error;
  }
}

/**
 * Writes the newest trace that is attached to an image to a file (`-`: standard output), which appears whole or not at all.
 * @throws NOT_FOUND when none is attached; USAGE for places that keep none; MISMATCH and CORRUPT for a damaged one
 */
export async function pullTrace(
  reference: string,
  file: string,
  options: PullTraceOptions = {},
): Promise<PulledTrace> {
  checkOptions('pullTrace', options);
  checkPlace(reference, options);
  const { platform } = options;
  const parsed = parseReference(reference);
  const opened = await openSource(reference, options);
  try {
    const platforms = platform === undefined ? undefined : [platform];
    const set = await openImageSet(opened.store, opened.reference, { platforms });
    const subject = set.images[0]!.descriptor.digest;
    const found = await findTrace(opened.store, subject);
    if (found === null) {
      const why = 'no trace is attached to it';
      throw failure('NOT_FOUND', `${publicName(reference)}@${subject}`, why, 'see trace push');
    }
    const { trace, bytes, digest } = found;
    const progress = { phase: 'fetch', done: bytes.length, total: bytes.length, unit: 'bytes' } as const;
    options.onProgress?.(progress);
    const inputs = inputFiles(parsed, set);
    await writeOutput(file, ({ fd }) => writeFully(fd, bytes, 0), { ...options, inputs });
    const { platform: recorded, reads } = trace;
    return { image: publicName(reference), subject, digest, platform: recorded, files: reads.length };
  } finally {
    await opened.store.close();
  }
}

function checkPlace(reference: string, options: PullTraceOptions): void {
  const { transport } = parseReference(reference);
  if (transport !== 'docker' && transport !== 'oci') {
    const why = 'traces are attached to images in registries and in layouts';
    throw failure('USAGE', reference, why, placesMeantBy(reference) ?? 'docker://HOST/REPO or oci:DIR');
  }
  checkSubjects([reference], options);
}

/** What is attached goes by digests: a tag beside one, as in the name of what was recorded, is no matter. */
function placeOf(reference: string): string {
  const parsed = parseReference(reference);
  if (parsed.transport !== 'docker' || parsed.digest === undefined) return reference;
  return `docker://${parsed.host}/${parsed.repository}@${parsed.digest}`;
}

/** The manifests of an image for a platform: of an index that has both, the tars' and the EROFS one's. */
async function subjectsOf(
  reference: string,
  platform: string,
  options: PushTraceOptions,
): Promise<Descriptor[]> {
  const opened = await openSource(reference, options);
  try {
    const set = await openImageSet(opened.store, opened.reference, { platforms: [platform] });
    return [set.images[0]!.descriptor, ...othersFor(platform, set)];
  } finally {
    await opened.store.close();
  }
}

function othersFor(wanted: string, { others }: ImageSet): Descriptor[] {
  const platform = parsePlatform(wanted);
  return others.filter(
    (entry) =>
      isManifestType(entry.mediaType) &&
      entry.artifactType === undefined &&
      entry.platform !== undefined &&
      platformMatches(entry.platform, platform),
  );
}
