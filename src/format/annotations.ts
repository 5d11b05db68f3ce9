import { failure } from '../errors';
import { isDigest, parseDigest } from './digest';
import { mediaTypes } from './media-types';
import { defaultVerityBlockSize } from './profiles';
import { isVerityBlockSize } from './verity-superblock';

/** Annotations of profile "containerd", on a layer's descriptor. Offsets are of skippable frame headers in the blob. Exported for its test. */
export const containerdAnnotations = {
  tableOffset: 'dev.containerd.erofs.zstd.chunk_table_offset',
  tableDigest: 'dev.containerd.erofs.zstd.chunk_digest',
  verityOffset: 'dev.containerd.erofs.dmverity.offset',
  verityRoot: 'dev.containerd.erofs.dmverity.root_digest',
} as const;

/** Annotations of profile "erofs-image-spec", on a layer's descriptor. */
export const specAnnotations = {
  indexRange: 'org.erofs.chunk-index.range',
  indexDigest: 'org.erofs.chunk-index.digest',
  indexMediaType: 'org.erofs.chunk-index.mediaType',
  indexTarget: 'org.erofs.chunk-index.target',
  uncompressedDigest: 'org.erofs.uncompressed-digest',
  verityOffset: 'org.erofs.dmverity.hash_offset',
  verityRoot: 'org.erofs.dmverity.root_digest',
  verityBlockSize: 'org.erofs.dmverity.block_size',
  role: 'org.erofs.role',
} as const;

/** Our own, of either profile: where the part of an image ends that programs were seen to read; in bytes, uncompressed (docs/trace.md). */
export const hotAnnotation = 'dev.seekable-erofs.hot';

/** Our own: the DiffID of the tar that an EROFS layer was built of. Whoever believes it believes the manifest (docs/containerd.md). */
export const sourceDiffIdAnnotation = 'dev.seekable-erofs.source-diff-id';

/** Our own, of profile "erofs-image-spec": how a layer was cut into chunks that begin where files do (docs/format/erofs-image-spec-profile.md). */
export const chunkingAnnotation = 'dev.seekable-erofs.chunking';

/** Every annotation that says something about a layer's encoding: what goes when the layer is encoded anew. Exported for its test. */
export const seekableAnnotationNames: readonly string[] = [
  ...Object.values(containerdAnnotations),
  ...Object.values(specAnnotations),
  hotAnnotation,
  chunkingAnnotation,
];

/**
 * Annotations of other lazy formats begin so: of stargz and nydus and overlaybd, of eStargz, of zstd:chunked, of SOCI. They point to what
 * is gone when a layer is another blob.
 */
const otherLazyPrefixes: readonly string[] = [
  'containerd.io/snapshot/',
  'io.containers.estargz.',
  'io.github.containers.zstd-chunked.',
  'com.amazon.soci.',
];

/** What the descriptor of a blob of profile "containerd" says. Offsets count in the blob. */
export interface ContainerdSeekable {
  profile: 'containerd';
  /** Of the table's skippable frame header. */
  tableOffset: number;
  /** SHA-512 of the table's payload; null: nobody vouches for it. */
  tableDigest: string | null;
  verity: { /** Of the payload's skippable frame header. */ offset: number; rootDigest: string } | null;
}

/** What the descriptor of a blob of profile "erofs-image-spec" says. */
export interface SpecSeekable {
  profile: 'erofs-image-spec';
  /** Where the index section begins in the blob; null when the blob has no index of its own. */
  indexStart: number | null;
  /** Where it ends; null: with the blob. */
  indexEnd: number | null;
  indexDigest: string | null;
  indexMediaType: string;
  /** On an index that is a layer of its own: the digest of the layer that it is for. */
  indexTarget: string | null;
  /** Of the image data, the tree included; the same as the DiffID. */
  uncompressedDigest: string | null;
  verity: {
    /** Where the tree begins in the image data. */ hashOffset: number;
    rootDigest: string;
    blockSize: number;
  } | null;
  role: string | null;
}

export type SeekableAnnotations = ContainerdSeekable | SpecSeekable;

type Annotations = Readonly<Record<string, unknown>>;

/** The DiffID of the tar that a layer was built of; null when its descriptor doesn't say. */
export function sourceDiffIdOf({ annotations }: { annotations?: Annotations }): string | null {
  const diffId = annotations?.[sourceDiffIdAnnotation];
  return typeof diffId === 'string' && isDigest(diffId) ? diffId : null;
}

/** Where the hot part of a layer's image ends; null when it has none, or says what can't be: it is a hint and nothing more. */
export function hotEndOf({ annotations }: { annotations?: Annotations }, imageSize: number): number | null {
  const text = annotations?.[hotAnnotation];
  if (typeof text !== 'string' || !/^[1-9]\d{0,15}$/.test(text)) return null;
  const end = Number(text);
  return end <= imageSize ? end : null;
}

/**
 * The digest of its content that a layer's descriptor has in profile "erofs-image-spec", null for all others. It is the layer's DiffID,
 * whatever the config says.
 */
export function uncompressedDigestOf({ annotations }: { annotations?: Annotations }): string | null {
  const said = readSeekableAnnotations(annotations);
  return said?.profile === 'erofs-image-spec' ? said.uncompressedDigest : null;
}

/**
 * What a layer's annotations say of either profile; null when they say nothing. CORRUPT for a value that is malformed, MISMATCH when one
 * half of dm-verity's pair of offset and root digest is missing: mounting such a layer unverified is what an attacker would want.
 */
export function readSeekableAnnotations(annotations: Annotations | undefined): SeekableAnnotations | null {
  if (annotations === undefined) return null;
  if (hasAny(annotations, containerdAnnotations)) return readContainerd(annotations);
  return hasAny(annotations, specAnnotations) ? readSpec(annotations) : null;
}

function hasAny(annotations: Annotations, names: Readonly<Record<string, string>>): boolean {
  return Object.values(names).some((name) => annotations[name] !== undefined);
}

function readContainerd(annotations: Annotations): ContainerdSeekable {
  const names = containerdAnnotations;
  if (annotations[specAnnotations.indexRange] !== undefined) {
    throw failure(
      'MISMATCH',
      'annotations',
      `${names.tableOffset} and ${specAnnotations.indexRange} exclude each other`,
    );
  }
  const tableOffset = readDecimal(annotations, names.tableOffset);
  if (tableOffset === null) {
    throw failure(
      'MISMATCH',
      `annotation ${names.tableOffset}`,
      'it is missing, but others of its kind are there',
    );
  }
  const verity = readVerityPair(annotations, names.verityOffset, names.verityRoot);
  return { profile: 'containerd', tableOffset, tableDigest: readTableDigest(annotations), verity };
}

/** The format's first implementation refuses every other algorithm, so a layer with one would not be pulled there. */
function readTableDigest(annotations: Annotations): string | null {
  const name = containerdAnnotations.tableDigest;
  const digest = readDigest(annotations, name);
  if (digest === null || parseDigest(digest).algorithm === 'sha512') return digest;
  throw failure('CORRUPT', `annotation ${name}`, `"${digest}" is no sha512, as this profile has it`);
}

function readSpec(annotations: Annotations): SpecSeekable {
  const names = specAnnotations;
  const verity = readVerityPair(annotations, names.verityOffset, names.verityRoot);
  const blockSize = readDecimal(annotations, names.verityBlockSize) ?? defaultVerityBlockSize;
  if (!isVerityBlockSize(blockSize)) {
    throw failure(
      'CORRUPT',
      `annotation ${names.verityBlockSize}`,
      `${blockSize} is no dm-verity block size`,
    );
  }
  return {
    profile: 'erofs-image-spec',
    ...readRange(annotations, names.indexRange),
    indexDigest: readDigest(annotations, names.indexDigest),
    indexMediaType: readText(annotations, names.indexMediaType) ?? mediaTypes.chunkIndex,
    indexTarget: readDigest(annotations, names.indexTarget),
    uncompressedDigest: readDigest(annotations, names.uncompressedDigest),
    verity: verity && { hashOffset: verity.offset, rootDigest: verity.rootDigest, blockSize },
    role: readText(annotations, names.role),
  };
}

function readVerityPair(annotations: Annotations, offsetName: string, rootName: string) {
  const offset = readDecimal(annotations, offsetName);
  const rootDigest = readDigest(annotations, rootName);
  if (offset === null && rootDigest === null) return null;
  if (rootDigest === null) {
    throw failure(
      'MISMATCH',
      `annotation ${offsetName}`,
      `${rootName} is missing, so nothing vouches for the tree`,
    );
  }
  if (offset === null) throw failure('MISMATCH', `annotation ${rootName}`, `${offsetName} is missing`);
  return { offset, rootDigest };
}

function readRange(
  annotations: Annotations,
  name: string,
): { indexStart: number | null; indexEnd: number | null } {
  const text = readText(annotations, name);
  if (text === null) return { indexStart: null, indexEnd: null };
  const [startText, endText, ...rest] = text.split(':');
  const indexStart = parseDecimal(startText!, name);
  const indexEnd = endText === undefined ? null : parseDecimal(endText, name);
  if (rest.length > 0 || (indexEnd !== null && indexEnd <= indexStart)) {
    throw failure(
      'CORRUPT',
      `annotation ${name}`,
      `"${text.slice(0, 80)}" is no range`,
      'start or start:end',
    );
  }
  return { indexStart, indexEnd };
}

function readDecimal(annotations: Annotations, name: string): number | null {
  const text = readText(annotations, name);
  return text === null ? null : parseDecimal(text, name);
}

function parseDecimal(text: string, name: string): number {
  const value = /^(?:0|[1-9]\d{0,15})$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(value)) {
    throw failure(
      'CORRUPT',
      `annotation ${name}`,
      `"${text.slice(0, 80)}" is no decimal number up to 2^53 - 1`,
    );
  }
  return value;
}

function readDigest(annotations: Annotations, name: string): string | null {
  const text = readText(annotations, name);
  if (text !== null) parseDigest(text, `annotation ${name}`);
  return text;
}

function readText(annotations: Annotations, name: string): string | null {
  const value = annotations[name];
  if (value === undefined) return null;
  if (typeof value !== 'string')
    throw failure('CORRUPT', `annotation ${name}`, `it is no string but ${typeof value}`);
  return value;
}

/** The annotations of a blob of profile "containerd". */
export function writeContainerdAnnotations(
  blob: Omit<ContainerdSeekable, 'profile'>,
): Record<string, string> {
  const { tableOffset, tableDigest, verity } = blob;
  const names = containerdAnnotations;
  return withoutNulls({
    [names.tableOffset]: tableOffset,
    [names.tableDigest]: tableDigest,
    [names.verityOffset]: verity?.offset,
    [names.verityRoot]: verity?.rootDigest,
  });
}

/** The annotations of a blob or of a lone index of profile "erofs-image-spec": those of the members that are there. */
export function writeSpecAnnotations(blob: Partial<Omit<SpecSeekable, 'profile'>>): Record<string, string> {
  const { indexStart = null, indexEnd = null, verity } = blob;
  const names = specAnnotations;
  const range =
    indexStart === null ? null : [indexStart, indexEnd].filter((bound) => bound !== null).join(':');
  return withoutNulls({
    [names.indexRange]: range,
    [names.indexDigest]: blob.indexDigest,
    [names.indexMediaType]: blob.indexMediaType,
    [names.indexTarget]: blob.indexTarget,
    [names.uncompressedDigest]: blob.uncompressedDigest,
    [names.verityOffset]: verity?.hashOffset,
    [names.verityRoot]: verity?.rootDigest,
    [names.verityBlockSize]: verity?.blockSize,
    [names.role]: blob.role,
  });
}

function withoutNulls(values: Record<string, string | number | null | undefined>): Record<string, string> {
  const present = Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(present.map(([name, value]) => [name, String(value)]));
}

/** The annotations that stay true of a layer when it is encoded anew: all but seekableAnnotationNames. */
export function stripSeekableAnnotations(
  annotations: Readonly<Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(annotations).filter(([name]) => !seekableAnnotationNames.includes(name)),
  );
}

/** The annotations without those of other lazy formats. */
export function stripLazyAnnotations(annotations: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(annotations).filter(
      ([name]) => !otherLazyPrefixes.some((prefix) => name.startsWith(prefix)),
    ),
  );
}
