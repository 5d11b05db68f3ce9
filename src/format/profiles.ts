import { failure } from '../errors';
import { parseByteSize } from './byte-size';
import type { DigestAlgorithm } from './digest';
import { isIntegerIn } from './little-endian';

/** The two layouts of a seekable blob: containerd's (pull request 12764) and that of the draft EROFS image specification. */
export type Profile = 'containerd' | 'erofs-image-spec';

/** Profile names in the order in which help and errors list them. Exported for its test. */
export const profiles: readonly Profile[] = ['containerd', 'erofs-image-spec'];

/** Chunk size when none is asked for, in bytes: docs/adr/0021-chunks-of-512-kib.md. */
const defaultChunkSize = 512 << 10;
/** Chunk sizes are multiples of this … */
const chunkSizeStep = 4096;
/** … and at most this. */
const maxChunkSize = 1 << 30;
/** dm-verity block size when none is asked for, in bytes. */
export const defaultVerityBlockSize = 4096;
/** dm-verity block sizes that are written. Kernels refuse larger ones than a page. */
const verityBlockSizes: readonly number[] = [512, 1024, 2048, 4096];
/** zstd level when none is asked for. */
const defaultLevel = 3;
const maxLevel = 22;

/** Where the chunk index of profile "erofs-image-spec" goes: into the blob, or into a layer of its own behind it. */
type IndexPlace = 'embedded' | 'standalone';
const indexPlaces: readonly IndexPlace[] = ['embedded', 'standalone'];

/** Where chunks begin: every so many bytes, or also where the data of files does, so that images share them. */
type Chunking = 'fixed' | 'files';
const chunkings: readonly Chunking[] = ['fixed', 'files'];

interface VerityChoice {
  /** The default first. */
  hashes: readonly DigestAlgorithm[];
  /** Bytes of zeros. A salt of zeros is not the same as none, for it is hashed. */
  saltSize: number;
}

const verityChoices: Readonly<Record<Profile, VerityChoice>> = {
  containerd: { hashes: ['sha512'], saltSize: 0 },
  'erofs-image-spec': { hashes: ['sha256', 'sha512'], saltSize: 32 },
};

/** How a layer is to be encoded, as a user says it; what is left out has a default. Sizes are bytes. */
export interface EncodeChoices {
  profile?: string | undefined;
  chunkSize?: number | string | undefined;
  level?: number | undefined;
  dmVerity?: boolean | undefined;
  dmVerityBlockSize?: number | string | undefined;
  dmVerityHash?: string | undefined;
  /** Profile "erofs-image-spec" only: "embedded" (the default) or, in images, "standalone". */
  index?: string | undefined;
  /** Profile "erofs-image-spec" only: leave the data as it is. */
  noCompress?: boolean | undefined;
  /** "fixed" (the default), or, in profile "erofs-image-spec" only, "files". */
  chunking?: string | undefined;
}

/** How a layer is to be encoded, all of it settled. */
export interface EncodeSettings {
  profile: Profile;
  /** Bytes; of chunks that begin where files do, of the longest. */
  chunkSize: number;
  chunking: Chunking;
  level: number;
  compression: 'zstd' | 'none';
  index: IndexPlace;
  /** Null without dm-verity. */
  verity: { algorithm: DigestAlgorithm; blockSize: number; salt: Uint8Array } | null;
}

/** Fills in defaults. USAGE for every value that is not written, whether or not it would be used. */
export function validateEncodeOptions(choices: EncodeChoices): EncodeSettings {
  const profile = checkProfile(choices.profile ?? 'containerd');
  const chunkSize = checkChunkSize(choices.chunkSize ?? defaultChunkSize);
  const level = choices.level ?? defaultLevel;
  if (!isIntegerIn(level, 1, maxLevel))
    throw failure('USAGE', 'level', `${level} is not from 1 to ${maxLevel}`);
  const blockSize = checkVerityBlockSize(choices.dmVerityBlockSize ?? defaultVerityBlockSize);
  const algorithm = checkVerityHash(profile, choices.dmVerityHash);
  const salt = new Uint8Array(verityChoices[profile].saltSize);
  checkSpecChoices(profile, choices);
  checkNeeds(choices);
  return {
    profile,
    chunkSize,
    chunking: checkName(choices.chunking ?? 'fixed', chunkings, 'chunking'),
    level,
    compression: choices.noCompress === true ? 'none' : 'zstd',
    index: checkName(choices.index ?? 'embedded', indexPlaces, 'place of the index'),
    verity: choices.dmVerity === true ? { algorithm, blockSize, salt } : null,
  };
}

/** USAGE unless `name` is a profile's. */
function checkProfile(name: string): Profile {
  const profile = profiles.find((known) => known === name);
  if (profile === undefined)
    throw failure('USAGE', 'profile', `there is no "${name}"`, profiles.join(' or '));
  return profile;
}

/** A table that is not where readers look for it, or frames that are none, have no place in the other profile. */
function checkSpecChoices(profile: Profile, { index, noCompress, chunking }: EncodeChoices): void {
  if (profile === 'erofs-image-spec') return;
  const refuse = (what: string): Error =>
    failure('USAGE', what, `profile ${profile} has no such choice`, 'profile erofs-image-spec has');
  if (index !== undefined) throw refuse('a place of the index');
  if (noCompress === true) throw refuse('no compression');
  if (chunking === 'files') throw refuse('chunking by files');
}

/** What would do nothing was meant to do something. */
function checkNeeds({ dmVerity, dmVerityBlockSize, dmVerityHash, noCompress, level }: EncodeChoices): void {
  const needsTree = (what: string): Error =>
    failure('USAGE', `dm-verity ${what}`, 'there is no tree without dm-verity', 'give --dm-verity, too');
  if (dmVerity !== true && dmVerityBlockSize !== undefined) throw needsTree('block size');
  if (dmVerity !== true && dmVerityHash !== undefined) throw needsTree('hash');
  if (noCompress === true && level !== undefined) {
    throw failure('USAGE', 'level', 'nothing is compressed', 'leave out one of --level and --no-compress');
  }
}

function checkName<T extends string>(name: string, names: readonly T[], what: string): T {
  const found = names.find((known) => known === name);
  if (found === undefined) throw failure('USAGE', what, `there is no "${name}"`, names.join(' or '));
  return found;
}

function checkChunkSize(value: number | string): number {
  const size = toBytes(value, 'chunk size');
  if (!isIntegerIn(size, chunkSizeStep, maxChunkSize) || size % chunkSizeStep !== 0) {
    throw failure('USAGE', 'chunk size', `${size} is no multiple of ${chunkSizeStep} up to 1 GiB`);
  }
  return size;
}

function checkVerityBlockSize(value: number | string): number {
  const size = toBytes(value, 'dm-verity block size');
  if (!verityBlockSizes.includes(size)) {
    throw failure('USAGE', 'dm-verity block size', `${size} is none of ${verityBlockSizes.join(', ')}`);
  }
  return size;
}

function checkVerityHash(profile: Profile, name: string | undefined): DigestAlgorithm {
  const { hashes } = verityChoices[profile];
  const hash = name === undefined ? hashes[0] : hashes.find((known) => known === name);
  if (hash === undefined) {
    throw failure('USAGE', 'dm-verity hash', `profile ${profile} has no "${name!}"`, hashes.join(' or '));
  }
  return hash;
}

function toBytes(value: number | string, what: string): number {
  return typeof value === 'string' ? parseByteSize(value, what) : value;
}
