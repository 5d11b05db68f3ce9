import { ftruncate, writeFile } from 'node:fs';
import { access } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { failure } from '../errors';
import { parseDigest } from '../format/digest';
import { containerdTree, isContainerdTree, serializeDmveritySidecar } from '../format/dmverity-sidecar';
import { layerFormat } from '../format/media-types';
import { writeAtomically, type SyncOptions } from '../fs/atomic-file';
import type { OutputFile } from '../fs/output-file';
import { openTemporary } from '../fs/temporary';
import { ownSnapshotter, refuseOtherRoles } from '../image/composition';
import { needsDevices } from '../image/device-layers';
import type { ResourceOptions, WarningOptions } from '../job';
import { appendTree } from '../layer/append-tree';
import { buildErofs } from '../layer/build';
import { checkBlobDigest } from '../layer/content-digest';
import { materialise, sidecarPath } from '../layer/materialise';
import { asByteSource } from '../layer/native-byte-source';
import { resourcesOf } from '../layer/resources';
import { openWholeLayer } from '../layer/whole-layer';
import { native } from '../native/binding';
import type { BlobFile } from '../oci/store';
import type { Descriptor } from '../oci/types';
import { openFileSource } from '../source/file';
import { StatusError } from './grpc-server';
import { fromWire, type WireDescriptor, type WireMount } from './wire';

/** What containerd asks a differ to unpack, and into what. */
export interface ApplyRequest {
  diff: WireDescriptor | null;
  mounts: WireMount[];
  /** The layer is to outlive a power cut. containerd asks for that where it is configured so. */
  sync_fs?: boolean;
}

/** How a differ works. */
interface DifferOptions extends ResourceOptions, WarningOptions {
  /** Where containerd keeps its data; tried when the blob is not found beside its snapshots. */
  root: string;
}

/** In the folder of a layer of containerd's EROFS snapshotter. */
const marker = '.erofslayer';
const imageName = 'layer.erofs';
const contentFolder = 'io.containerd.content.v1.content/blobs';

/**
 * Unpacks one of our layers into the folder of a snapshot of containerd's EROFS snapshotter: `layer.erofs`, and with a dm-verity tree the
 * sidecar beside it, both whole and checked, or nothing. The answer describes what was unpacked, by its DiffID, which containerd compares
 * with the image's config. UNIMPLEMENTED for what is no layer of ours, or no folder of that snapshotter: containerd asks the next differ.
 */
export async function applyLayer(
  { diff, mounts, sync_fs: sync = false }: ApplyRequest,
  options: DifferOptions,
): Promise<Descriptor> {
  const descriptor = fromWire(diff);
  const kind = layerFormat(descriptor.mediaType)?.kind;
  refuseOtherRoles(descriptor);
  if (kind !== 'erofs' && kind !== 'chunk-index')
    throw new StatusError('UNIMPLEMENTED', `${descriptor.mediaType} is no EROFS layer`);
  const folder = await layerFolder(mounts);
  const file = await openContent(folder, descriptor, options.root);
  try {
    const image = join(folder, imageName);
    const layer =
      kind === 'erofs'
        ? unpack(file, image, descriptor, { ...options, sync })
        : placeIndex(file, image, descriptor, options);
    const { digest, size } = await layer;
    return { mediaType: descriptor.mediaType.replace(/\+zstd$/, ''), digest, size };
  } finally {
    await file.close();
  }
}

/** Nor can it give an image the devices that it keeps data on. */
async function refuseDevices({ fd, name }: OutputFile, size: number, what: string): Promise<void> {
  const image = new native.Source({ fd, offset: 0, size, name });
  try {
    if (!(await needsDevices(asByteSource(image, name)))) return;
  } finally {
    image.close();
  }
  const why =
    "its files are on devices, other layers of the image, which containerd's erofs snapshotter can not mount";
  throw failure('UNSUPPORTED', what, why, ownSnapshotter);
}

/** The digest of the blob as a whole is checked as well, so one without a table of chunks may be taken: all that is read is vouched for. */
async function unpack(
  file: BlobFile,
  path: string,
  descriptor: Descriptor,
  options: ResourceOptions & SyncOptions,
) {
  const own = { ...options, descriptor, allowUnverified: true };
  const layer = await openWholeLayer(file, own);
  try {
    const { tree, lacksSuperblock } = layer.blob;
    if (lacksSuperblock)
      throw failure(
        'CORRUPT',
        descriptor.digest,
        'where its dm-verity tree should begin there is no superblock',
      );
    const write = async (image: OutputFile) => {
      const { diffId } = await layer.decode({ fd: image.fd, name: image.name, sync: options.sync }, own);
      await refuseDevices(image, layer.blob.imageSize, descriptor.digest);
      const isKept = tree?.vouched === true && isContainerdTree(tree.superblock);
      if (isKept) await materialise(file, tree, image, options);
      else await promisify(ftruncate)(image.fd, layer.blob.imageSize);
      if (tree?.vouched === true && !isKept) await replaceTree(image, layer.blob.imageSize, options);
      return { digest: diffId, size: layer.blob.section.uncompressedSize };
    };
    return await writeAtomically(path, write, { sync: options.sync });
  } finally {
    layer.close();
  }
}

/** A tree that containerd opens, of an image that was checked, in the place of one that it does not. */
async function replaceTree(image: OutputFile, size: number, options: ResourceOptions & SyncOptions) {
  const { threads, tmpDir } = resourcesOf(options);
  const sidecar = await appendTree({ ...image, size }, containerdTree, {
    ...options,
    tmpDir,
    compute: (_, work) => work(threads),
  });
  const write = ({ fd }: { fd: number }) => promisify(writeFile)(fd, serializeDmveritySidecar(sidecar));
  await writeAtomically(sidecarPath(image.name), write, { sync: options.sync });
}

/** A chunk index has no files: its snapshot is an image without any. */
async function placeIndex(file: BlobFile, path: string, descriptor: Descriptor, options: ResourceOptions) {
  await checkBlobDigest(file, descriptor, options);
  const empty = await openTemporary(options.tmpDir);
  try {
    await buildErofs(`/proc/self/fd/${empty.fd}`, path, { threads: options.threads, tmpDir: options.tmpDir });
  } finally {
    await empty.close();
  }
  return { digest: descriptor.digest, size: descriptor.size };
}

/** Where the layer goes: the folder of the snapshot that the mounts are of. */
async function layerFolder(mounts: readonly WireMount[]): Promise<string> {
  const last = mounts.at(-1);
  if (last === undefined) throw new StatusError('INVALID_ARGUMENT', 'there is no mount to unpack to');
  if (isReadOnly(last))
    throw new StatusError('FAILED_PRECONDITION', 'the snapshot is read-only: its layer is there');
  const folder = folderOf(mounts[0]!, last);
  const isErofs =
    folder !== null &&
    (await access(join(folder, marker)).then(
      () => true,
      () => false,
    ));
  if (!isErofs) throw new StatusError('UNIMPLEMENTED', "it is no snapshot of containerd's erofs snapshotter");
  return folder;
}

function isReadOnly({ options }: WireMount): boolean {
  return options.includes('ro');
}

/** A snapshot's folder is the parent of what is mounted; types may have what containerd is to do before, as in `format/mkdir/overlay`. */
function folderOf(first: WireMount, last: WireMount): string | null {
  if (first.type.startsWith('mkfs/')) return dirname(first.source);
  const type = last.type.split('/').at(-1);
  if (type === 'bind' || type === 'erofs') return dirname(last.source);
  if (type !== 'overlay') return null;
  const upper = last.options.find((option) => option.startsWith('upperdir='));
  return dirname(upper?.slice('upperdir='.length) ?? first.source);
}

/** The blob in containerd's content store: beside the folder of the snapshotter, or where containerd usually is. */
async function openContent(folder: string, { digest, size }: Descriptor, root: string): Promise<BlobFile> {
  const { algorithm, hex } = parseDigest(digest);
  const beside = dirname(dirname(dirname(folder)));
  const paths = [beside, root].map((place) => join(place, contentFolder, algorithm, hex));
  for (const path of paths) {
    const file = await openFileSource(path, digest).catch(() => null);
    if (file === null) continue;
    if (file.size === size) return file;
    await file.close();
    throw failure('MISMATCH', digest, `it has ${file.size} bytes, but its descriptor says ${size}`);
  }
  throw failure('NOT_FOUND', digest, `the blob is at none of ${paths.join(', ')}`);
}
