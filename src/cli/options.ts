import { readFile, stat } from 'node:fs/promises';
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { Descriptor, EncodeOptions, RegistryOptions } from '../index';
import { failure, fromSystemError, SeekableErofsError } from '../errors';
import { optionsOf, wantedInstead, type OptionRule } from '../options';
import { library } from './library';
import { progressModes, type ProgressMode } from './progress';

/** What the flags stand for: the one table of options, which the library and batches go by as well. */
const rules = optionsOf.convertImage;

/** Flags that every command takes. */
export interface CommonFlags {
  json?: boolean;
  progress: ProgressMode;
  quiet?: boolean;
  threads?: number;
  tmpDir?: string;
}

export function addCommonOptions(command: Command): Command {
  return command
    .optionsGroup('Every command:')
    .option('--json', 'print one JSON document on stdout')
    .addOption(
      new Option('--progress <mode>', 'on stderr: bars, lines, or JSON lines')
        .choices(progressModes)
        .default('auto', 'bars on a terminal'),
    )
    .option('--quiet', 'no warnings, no summary')
    .addOption(flagOf(rules.threads, 'worker threads (default: all cores)', 'n'))
    .addOption(flagOf(rules.tmpDir, 'folder for temporary files (default: $TMPDIR)', 'dir'));
}

/** Flags of the commands that write seekable blobs. */
export interface EncodeFlags extends BuildFlags {
  profile?: 'containerd' | 'erofs-image-spec';
  chunkSize?: string;
  level?: number;
  dmVerity?: true;
  dmVerityBlockSize?: string;
  dmVerityHash?: 'sha512' | 'sha256';
  index?: 'embedded' | 'standalone';
  /** Commander makes it true where `--no-compress` is not given. */
  compress?: boolean;
  chunking?: 'fixed' | 'files';
}

export function addEncodeOptions(command: Command): Command {
  const flags = [
    flagOf(rules.profile, 'blob format (default: containerd)', 'name'),
    flagOf(rules.chunkSize, 'uncompressed bytes of a frame, a multiple of 4096 (default: 512KiB)', 'size'),
    flagOf(rules.level, 'zstd level (default: 3)', 'n'),
    flagOf(rules.dmVerity, 'append a dm-verity Merkle tree'),
    flagOf(rules.dmVerityBlockSize, '512, 1024, 2048 or 4096 (default: 4096)', 'size'),
    flagOf(rules.dmVerityHash, 'hash of the tree (default: sha512; of erofs-image-spec: sha256)', 'name'),
    flagOf(
      rules.index,
      'erofs-image-spec: the index in the blob, or a layer of its own (default: embedded)',
      'place',
    ),
    flagOf(rules.noCompress, 'erofs-image-spec: leave the data as it is'),
    flagOf(
      rules.chunking,
      'erofs-image-spec: "files" cuts chunks where files begin, so that images share them (default: fixed)',
      'kind',
    ),
  ];
  command.optionsGroup('The blobs:');
  for (const flag of flags) command.addOption(flag);
  return addBuildOptions(command);
}

/** The library's options for these flags. A flag that was not given stays absent: it matches anything. */
export async function encodeOptions(flags: EncodeFlags): Promise<EncodeOptions> {
  const { parseByteSize } = await library();
  const size = (flag: string, text?: string): number | undefined =>
    text === undefined ? undefined : aboutFlag(flag, () => parseByteSize(text));
  return given({
    profile: flags.profile,
    chunkSize: size('--chunk-size', flags.chunkSize),
    level: flags.level,
    dmVerity: flags.dmVerity,
    dmVerityBlockSize: size('--dm-verity-block-size', flags.dmVerityBlockSize),
    dmVerityHash: flags.dmVerityHash,
    index: flags.index,
    noCompress: flags.compress === false ? true : undefined,
    chunking: flags.chunking,
    ...buildOptions(flags),
  });
}

/** What `read` finds wrong with a value is said of the flag that it was given with. */
function aboutFlag<T>(flag: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof SeekableErofsError) throw failure(error.code, flag, error.why, error.hint);
    throw error;
  }
}

/** Flags of the commands that build images of tars. */
export interface BuildFlags {
  mkfs?: string;
  mkfsTarIndex?: true;
}

export function addBuildOptions(command: Command): Command {
  const description =
    'build by an installed mkfs.erofs (1.8 or newer; $MKFS_EROFS or on PATH) with these options';
  return command
    .optionsGroup('Another builder:')
    .addOption(flagOf(rules.mkfs, description, 'options'))
    .addOption(
      flagOf(rules.mkfsTarIndex, 'by mkfs.erofs too: an index of the tar, then the tar').conflicts('mkfs'),
    );
}

/** The library's options for these flags. */
export function buildOptions({
  mkfs,
  mkfsTarIndex,
}: BuildFlags): Pick<EncodeOptions, 'mkfs' | 'mkfsTarIndex'> {
  return given({ mkfs, mkfsTarIndex });
}

/** Flags of the commands that read blobs. */
export interface ReadFlags {
  descriptor?: string;
  allowUnverified?: true;
}

export function addReadOptions(command: Command): Command {
  return command
    .optionsGroup('What vouches for it:')
    .option(
      '--descriptor <file>',
      'JSON of `encode --json`, or any OCI descriptor, to verify a bare blob against',
    )
    .option(
      '--allow-unverified',
      'accept layers for which nothing vouches: no digest of the table, or no table',
    );
}

/** The library's options for these flags. */
export async function readOptions(
  flags: ReadFlags,
): Promise<{ descriptor?: Descriptor; allowUnverified?: boolean }> {
  const descriptor = flags.descriptor === undefined ? undefined : await readDescriptor(flags.descriptor);
  return given({ descriptor, allowUnverified: flags.allowUnverified });
}

/** Flags of the commands that take references of images: how registries are spoken to. */
export interface RegistryFlags {
  authfile?: string;
  certDir?: string;
  insecureHttp?: true;
  concurrency?: number;
}

/** Flags by which a registry lets this program in. */
export type AccessFlags = Omit<RegistryFlags, 'concurrency'>;

export function addRegistryOptions(command: Command): Command {
  return addAccessOptions(command).addOption(flagOf(rules.concurrency, 'requests at once (default: 6)', 'n'));
}

export function addAccessOptions(command: Command): Command {
  return command
    .optionsGroup('Registries (docker://):')
    .addOption(flagOf(rules.authFile, 'credentials (default: where Docker and Podman keep theirs)', 'file'))
    .addOption(flagOf(rules.certDir, "authorities to trust as *.crt, a client's *.cert and *.key", 'dir'))
    .addOption(
      flagOf(rules.insecureHttp, 'plain HTTP where a registry does not answer TLS (always on loopback)'),
    );
}

/** The library's options for these flags. */
export function registryOptions({
  authfile,
  certDir,
  insecureHttp,
  concurrency,
}: RegistryFlags): RegistryOptions {
  return given({ authFile: authfile, certDir, insecureHttp, concurrency });
}

export function addPlatformOption(command: Command, description: string): Command {
  const option = new Option('--platform <platform>', description).argParser(collect);
  return command.addOption(option);
}

/** A descriptor is a few hundred bytes; more than this was not meant. */
const maxDescriptorSize = 4 << 20;

/**
 * Reads a descriptor's file. Exported for its test.
 * @throws {SeekableErofsError} CORRUPT when it holds none; NOT_FOUND, IO
 */
export async function readDescriptor(file: string): Promise<Descriptor> {
  const { parseJson } = await library();
  let bytes: Buffer;
  try {
    bytes = file === '-' ? await readInput() : await readSmallFile(file);
  } catch (error) {
    throw fromSystemError(file, error);
  }
  let value: unknown;
  try {
    value = parseJson(bytes, file);
  } catch {
    throw failure(
      'CORRUPT',
      file,
      'not JSON, or none that a descriptor could be',
      'give what `encode --json` printed',
    );
  }
  if (!isDescriptor(value)) {
    throw failure(
      'CORRUPT',
      file,
      'not an OCI descriptor: mediaType, digest, size, and annotations that are strings',
    );
  }
  return value;
}

async function readSmallFile(file: string): Promise<Buffer> {
  if ((await stat(file)).size > maxDescriptorSize)
    throw failure('CORRUPT', file, 'too large for a descriptor');
  return readFile(file);
}

async function readInput(): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of process.stdin as AsyncIterable<Buffer>) {
    if ((size += piece.length) > maxDescriptorSize)
      throw failure('CORRUPT', 'standard input', 'too large for a descriptor');
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function isDescriptor(value: unknown): value is Descriptor {
  if (!isObject(value)) return false;
  const { mediaType, digest, size, annotations = {}, diffId = '' } = value;
  return (
    [mediaType, digest, diffId].every((text) => typeof text === 'string') &&
    Number.isSafeInteger(size) &&
    Number(size) >= 0 &&
    isObject(annotations) &&
    Object.values(annotations).every((text) => typeof text === 'string')
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** True for what names an image, false for a bare path or a URL. */
export function isImageReference(text: string): boolean {
  return /^(docker:\/\/|(oci|oci-archive|docker-archive|erofs-cache):)/.test(text);
}

/**
 * A command's argument that must be a bare path.
 * @throws {SeekableErofsError} USAGE for a reference
 */
export function requirePath(text: string, hint: string): string {
  if (isImageReference(text))
    throw failure('USAGE', text, 'an image reference where a file is expected', hint);
  return text;
}

/** Whether an output is `-`, standard output, which then has no place for anything else. USAGE with `--json`. */
export function takesOutput(path: string, { json }: CommonFlags): boolean {
  if (path === '-' && json === true)
    throw failure('USAGE', path, 'stdout carries the data, so --json has no place', 'leave out --json');
  return path === '-';
}

/** Refuses `-` where it can't be a standard stream. USAGE. */
export function refuseStream(path: string): void {
  if (path !== '-') return;
  const why = 'it is standard input or output, which has no use here';
  throw failure('USAGE', path, why, './- if something is called so');
}

/**
 * An image brings its own descriptors.
 * @throws {SeekableErofsError} USAGE when one was given all the same
 */
export function refuseDescriptorOfImage(subject: string, { descriptor }: ReadFlags): void {
  if (descriptor === undefined || !isImageReference(subject)) return;
  throw failure('USAGE', subject, 'an image has its own descriptors', '--descriptor is for a bare blob');
}

/** A flag by the rule of the option that it stands for. `value` is what the help calls its value. */
export function flagOf(rule: OptionRule & { flag: string }, description: string, value?: string): Option {
  const option = new Option(`--${rule.flag}${value === undefined ? '' : ` <${value}>`}`, description);
  if (rule.choices !== undefined) option.choices(rule.choices);
  if (rule.kind === 'texts') option.argParser(collect);
  if (rule.kind === 'integer') option.argParser((text) => parseNumber(rule, text));
  if (rule.kind === 'file') option.argParser(parseFileName);
  return option;
}

/** The name of a file or a folder that can't be a standard stream. */
export function parseFileName(text: string): string {
  const wanted = wantedInstead({ kind: 'file' }, text);
  if (wanted !== null) throw new InvalidArgumentError(`Give ${wanted}.`);
  return text;
}

function parseNumber(rule: OptionRule, text: string): number {
  const number = parseInteger(text);
  const wanted = wantedInstead(rule, number);
  if (wanted !== null) throw new InvalidArgumentError(`Give ${wanted}.`);
  return number;
}

export function parseThreads(text: string): number {
  return parseNumber(rules.threads, text);
}

/** A number of things: 0 or more. */
export function parseCount(text: string): number {
  const count = parseInteger(text);
  if (count < 0) throw new InvalidArgumentError('Give 0 or more.');
  return count;
}

export function parseInteger(text: string): number {
  if (!/^-?\d{1,9}$/.test(text)) throw new InvalidArgumentError('Give a whole number.');
  return Number(text);
}

/** Gathers the values of a flag that may be repeated. */
export function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}

/** Drops the members that are undefined: in the library's options, absent means default. */
export function given<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
