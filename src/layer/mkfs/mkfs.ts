import { fstat, ftruncate } from 'node:fs';
import { promisify } from 'node:util';
import { failure, type SeekableErofsError } from '../../errors';
import { BlockSpace } from '../../erofs/block-space';
import { readSuperblock, type Superblock } from '../../erofs/superblock';
import { formatDigest, parseDigest } from '../../format/digest';
import { formatUuid } from '../../format/verity-superblock';
import { openTemporary, type TemporaryFile } from '../../fs/temporary';
import type { ResourceOptions } from '../../job';
import { native, type NativeSource } from '../../native/binding';
import { reading } from '../../native/native-error';
import { runNative } from '../../native/run';
import type { ByteSource } from '../../source/byte-source';
import { tarIndexBlockSize, type MkfsSettings } from './options';
import { findMkfs, inheritedFile, runMkfs } from './program';
import { asByteSource } from '../native-byte-source';
import { resourcesOf } from '../resources';

/** A tar, decompressed. */
interface MkfsInput {
  source: NativeSource;
  /** `sha256:…`, if it is known. */
  digest: string | null;
  name: string;
}

/** An image that mkfs.erofs made; its file has no name. */
interface MkfsImage {
  image: NativeSource;
  inodes: number;
  /** Bytes. */
  blockSize: number;
  /** `sha256:…` of the tar. */
  tarDigest: string;
}

const pieceSize = 1 << 20;
const reportInterval = 100; // milliseconds

/**
 * Builds the image of a tar with an installed mkfs.erofs, as containerd calls it, but with time and UUID that depend on the tar and the
 * options alone (docs/format/erofs.md). MACHINE when there is no usable mkfs.erofs, FAILED when it fails; CORRUPT and REFUSED as the
 * built-in builder, which plans the tar for the image's epoch.
 */
export async function makeImage(
  tar: MkfsInput,
  settings: MkfsSettings,
  options: ResourceOptions,
): Promise<MkfsImage> {
  const program = await findMkfs(options);
  const epoch = await epochOf(tar, options);
  const tarDigest = tar.digest ?? (await digestOfTar(tar, options));
  const args = mkfsArguments(settings, { epoch, tarDigest });
  const target = await openTemporary(resourcesOf(options).tmpDir);
  try {
    await runMkfs(program, args, { input: piecesOf(tar, options), target }, options);
    const made = await imageIn(target, program);
    const facts = await checkImage(made, settings, program, options).catch((error: unknown) => {
      made.close();
      throw error;
    });
    const image = settings.mode === 'full' ? made : await appendTar(made, target, tar, options);
    return { image, ...facts, tarDigest };
  } finally {
    await target.close(); // the source has its own descriptor
  }
}

/** The arguments that mkfs.erofs is called with. The user's come last, and win. Exported for its test. */
export function mkfsArguments(
  { mode, options, words, letters }: MkfsSettings,
  { epoch, tarDigest }: { epoch: number; tarDigest: string },
): string[] {
  const uuid = native.uuid5(`erofs:mkfs/${parseDigest(tarDigest).hex}/${options}`);
  return [
    ...[mode === 'full' ? '--tar=f' : '--tar=i', '--aufs', '--quiet'],
    // Without -b, mkfs.erofs takes this machine's page size, which other machines may not mount.
    ...(mode === 'full' ? ['-Enoinline_data', '-b4096'] : []),
    // -1 is no time to mkfs.erofs. With a -T of the user, what it applies to is the user's to say as well.
    ...(letters.has('T') ? [] : ['-T', `${epoch === -1 ? 0 : epoch}`, '--mkfs-time']),
    ...(letters.has('U') ? [] : ['-U', formatUuid(uuid)]),
    ...words,
    inheritedFile,
  ];
}

/** The built-in builder's warnings are about its own policy, so they are not passed on. */
async function epochOf({ source, name }: MkfsInput, options: ResourceOptions): Promise<number> {
  const { threads, tmpDir } = resourcesOf(options);
  const planning = runNative(
    options,
    (job) =>
      native.planImage(
        source,
        {
          blockSize: 4096,
          bottomLayer: false,
          threads,
          tmpDir,
          hotPaths: [],
          hotRanges: [],
          hotBorder: 4096,
          listFiles: false,
          deviceTag: null,
        },
        job,
      ),
    name,
  );
  const plan = await reading(name, planning);
  plan.source.close();
  return plan.epoch;
}

async function digestOfTar({ source, name }: MkfsInput, options: ResourceOptions): Promise<string> {
  const digest = await runNative(options, (job) => native.hashSource(source, job), name);
  return formatDigest('sha256', digest);
}

async function* piecesOf({ source, name }: MkfsInput, { onProgress }: ResourceOptions) {
  const bytes = asByteSource(source, name);
  let reported = -Infinity;
  for (let done = 0; done < bytes.size;) {
    const piece = await bytes.read(done, Math.min(pieceSize, bytes.size - done));
    yield piece;
    done += piece.length;
    if (performance.now() - reported < reportInterval && done < bytes.size) continue;
    reported = performance.now();
    onProgress?.({ phase: 'mkfs', item: name, done, total: bytes.size, unit: 'bytes' });
  }
}

async function imageIn({ fd }: TemporaryFile, name: string): Promise<NativeSource> {
  const { size } = await promisify(fstat)(fd);
  return new native.Source({ fd, offset: 0, size, name: `image made by ${name}` });
}

/** Options may well make mkfs.erofs do something else than to write one image here: its file would be no layer. */
async function checkImage(
  made: NativeSource,
  { mode }: MkfsSettings,
  program: string,
  options: ResourceOptions,
) {
  const hint = 'are there options that name other files, or change what it does?';
  const image = asByteSource(made, `image made by ${program}`);
  const superblock = await readSuperblock(image, options.signal).catch((error: unknown) => {
    throw failure('FAILED', program, `it made no image: ${(error as SeekableErofsError).why}`, hint);
  });
  const { inodes, blockSize, extraDevices } = superblock;
  if (mode === 'full' && extraDevices !== 0) {
    throw failure('FAILED', program, 'it made an image whose data is elsewhere', hint);
  }
  if (mode === 'index') await checkPlaceOfTar(image, superblock, program);
  return { inodes: Number(inodes), blockSize };
}

/** The index must end where its device table says that the tar begins: then the kernel finds the tar in the same file. */
async function checkPlaceOfTar(image: ByteSource, superblock: Superblock, program: string): Promise<void> {
  if (superblock.extraDevices === 0) return; // a tar without entries
  const space = await BlockSpace.open(image, superblock, []);
  const { offset } = space.locate(1, 0, 0);
  if (offset === image.size) return;
  const why = `its tar index has ${image.size} bytes, but wants the tar at ${offset}`;
  throw failure('FAILED', program, why, 'is there a newer mkfs.erofs?');
}

/** Appends the tar to its index, and the zeros that a last block of data may lack: the kernel reads whole blocks. */
async function appendTar(
  index: NativeSource,
  target: TemporaryFile,
  { source, name }: MkfsInput,
  options: ResourceOptions,
): Promise<NativeSource> {
  const { threads } = resourcesOf(options);
  const place = { fd: target.fd, offset: index.size, name: target.name };
  index.close();
  await runNative(options, (job) => native.writeSource(source, place, { threads }, job), name);
  const size = place.offset + Math.ceil(source.size / tarIndexBlockSize) * tarIndexBlockSize;
  await promisify(ftruncate)(target.fd, size);
  return new native.Source({ fd: target.fd, offset: 0, size, name: target.name });
}
