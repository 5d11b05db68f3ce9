import {
  hotAnnotation,
  hotEndOf,
  sourceDiffIdAnnotation,
  specAnnotations,
  stripSeekableAnnotations,
} from '../format/annotations';
import { isTarLayer } from '../format/media-types';
import type { EncodeSettings } from '../format/profiles';
import { openTemporary } from '../fs/temporary';
import { roleOf } from '../image/composition';
import { readIndexOf } from '../image/image-layers';
import { encodeErofs, settingsForImage, type EncodableImage } from '../layer/encode';
import type { EncodedLayer } from '../layer/encoded-layer';
import { warnOfKeptOrder } from '../layer/layer-image';
import { warnOfUnusedMkfs } from '../layer/mkfs/options';
import { asByteSource } from '../layer/native-byte-source';
import { native, type NativeSource } from '../native/binding';
import { omit } from '../oci/json';
import type { BlobFile } from '../oci/store';
import type { Descriptor } from '../oci/types';
import { causeOf, progressOf } from './arriving-layer';
import { isSeekable, openStoredImage, withLayerImage, type StoredImage } from './checked-image';
import { copyBlob, draftOf } from './copy-blob';
import { TarDevice, type MadeBlob } from './tar-device';
import { openLayerFile } from './foreign-layer';
import { findAtDestination, matchesRequest, passedThrough, settingsWithTree } from './pass-through';
import type { ConvertedLayer } from './placed-layers';
import type { LayerCall, LayerRun, StoreRun } from './run';

/** A layer that is ready but for its blob's commit. */
export interface FinishedLayer extends MadeBlob {
  layer: ConvertedLayer;
  /** Of `layer.device`, where that was made with it. */
  device?: MadeBlob | null;
}

/**
 * Makes the blob of a layer. A seekable one that is as it was asked for stays as it is; everything else is built, decoded or decompressed,
 * and wrapped. The source's bytes are checked against descriptor and DiffID on the way. Files of the source are closed when this returns:
 * a blob may take long to be uploaded.
 */
export async function finishLayer(run: LayerRun, call: LayerCall): Promise<FinishedLayer> {
  const { source, destination, pool } = run;
  const { layer, options } = call;
  const { descriptor } = layer;
  const indexLayer = await readIndexOf(source, layer);
  if (isSeekable(descriptor, indexLayer)) {
    const known = await findAtDestination(run, call, indexLayer);
    if (known !== null) return { layer: known, draft: null, indexPayload: null };
  }
  // A tar is worked on while it comes; all of it is needed to decode one, or to pass its blob on before anything else.
  const isCopied = run.asked.appendToIndex === true;
  const mayArrive = isTarLayer(descriptor.mediaType) && !isCopied;
  const file = await openLayerFile(source, descriptor, options, mayArrive);
  try {
    if (isCopied) await copyBlob(destination, file, descriptor, options);
    const stored = await openStoredImage(pool, file, call, indexLayer);
    if (stored === null) return await finishTar(run, call, file);
    try {
      warnOfUnusedMkfs(file.name, options);
      warnOfKeptOrder(file.name, options);
      if (stored.kind !== 'seekable' || !matchesRequest(stored.blob, layer, run, indexLayer)) {
        return await wrapStored(run, call, stored);
      }
      await stored.decode(null); // a layer that is passed on was checked as well
      const isThere = await destination.has(descriptor);
      const draft = isThere ? null : await draftOf(destination, file, descriptor, options);
      return { layer: passedThrough(stored.blob, layer), draft, indexPayload: indexLayer?.payload ?? null };
    } finally {
      stored.close();
    }
  } finally {
    await file.close();
  }
}

/** Builds the image of a layer, or uses the one that it is, and wraps it. */
async function finishTar(run: LayerRun, call: LayerCall, file: BlobFile): Promise<FinishedLayer> {
  const { descriptor, diffId } = call.layer;
  const device = new TarDevice(run, call);
  const shown = progressOf(file, call.options.onProgress);
  const own = { ...call, options: { ...call.options, ...shown, encodeDevice: device.encode } };
  try {
    return await withLayerImage(file, own, async ({ image, hot, built, filePieces, hasDevice }, check) => {
      const paths = call.options.hot?.files.paths ?? [];
      if (built !== null)
        run.order?.add(
          descriptor.digest,
          (hot?.found ?? []).map((i) => paths[i]!),
        );
      // Beside the encoding: the layers below wait for it, and this one need not.
      const hiding = paths.length === 0 ? Promise.resolve([]) : hiddenIn(image, file.name, paths);
      hiding.then(call.onHides, () => undefined); // awaited below, unless encoding fails first
      const checkAll = async (): Promise<void> => {
        await hiding; // it reads the image, which is closed then
        await check();
        if (hasDevice) await device.keep(file);
      };
      const finished = await wrap(
        run,
        call,
        run.settings,
        { image, filePieces, hotEnd: hot?.end ?? 0, tar: diffId },
        checkAll,
      );
      const hides = paths.length > 0 ? await hiding : undefined;
      const { placed, made } = await device.finish();
      return { ...finished, device: made, layer: { ...finished.layer, device: placed, hides } };
    });
  } catch (error) {
    await device.discard();
    throw await causeOf(error, file, descriptor, call.options);
  }
}

async function hiddenIn(image: NativeSource, name: string, paths: readonly Uint8Array[]): Promise<number[]> {
  const { hiddenBelow } = await import('../image/hidden-paths.js'); // which reads EROFS: 35 modules
  return hiddenBelow(asByteSource(image, name), paths);
}

/** Decodes a layer into a file without a name, and wraps what it holds. */
async function wrapStored(
  run: StoreRun,
  call: LayerCall,
  { blob, decode }: StoredImage,
): Promise<FinishedLayer> {
  const file = await openTemporary(run.asked.tmpDir);
  try {
    await decode(file);
    const name = `blob ${call.layer.descriptor.digest}`;
    const image = new native.Source({ fd: file.fd, offset: 0, size: blob.imageSize, name });
    return await wrap(
      run,
      call,
      settingsWithTree(run, blob),
      { image, hotEnd: hotEndOf(call.layer.descriptor, blob.imageSize) ?? 0, tar: null },
      async () => undefined,
    );
  } finally {
    await file.close();
  }
}

/**
 * Encodes an image into a draft of the destination, which is returned once `check` has passed. Closes the image. `tar`: the DiffID of what the
 * image was built of.
 */
async function wrap(
  { destination, pool }: StoreRun,
  { layer: { descriptor: old }, options }: LayerCall,
  settings: EncodeSettings,
  { image, filePieces, hotEnd, tar }: EncodableImage & { hotEnd: number; tar: string | null },
  check: () => Promise<void>,
): Promise<FinishedLayer> {
  try {
    const fitting = await settingsForImage(image, settings, options, `layer ${old.digest}`);
    const chunks = Math.ceil(image.size / settings.chunkSize);
    const draft = await destination.createBlob();
    try {
      const encoded = await pool.compute(chunks, options.signal, (threads) =>
        encodeErofs({ image, filePieces }, draft, fitting, { ...options, threads }, `blob ${old.digest}`),
      );
      await check();
      const descriptor = descriptorOf(withHotPart(encoded, hotEnd), { ...old, ...withOrigin(old, tar) });
      const { diffId, uncompressedSize, indexLayer } = encoded;
      // Of an index, which is stored as it is, DiffID and digest are the same.
      const index = indexLayer && { descriptor: indexLayer.descriptor, diffId: indexLayer.descriptor.digest };
      const layer = { source: old.digest, descriptor, diffId, index, uncompressedSize, reused: false };
      return { layer, draft, indexPayload: indexLayer?.payload ?? null };
    } catch (error) {
      await draft.discard();
      throw error;
    }
  } finally {
    image.close();
  }
}

/** Says in the blob's annotations where its hot part ends, if it has one. */
function withHotPart(encoded: EncodedLayer, hotEnd: number): EncodedLayer {
  if (hotEnd === 0) return encoded;
  return { ...encoded, annotations: { ...encoded.annotations, [hotAnnotation]: String(hotEnd) } };
}

/** Says which tar, by its DiffID, an image was built of; one that is only wrapped anew keeps what its descriptor says. */
function withOrigin({ annotations }: Descriptor, tar: string | null): Pick<Descriptor, 'annotations'> {
  return tar === null ? {} : { annotations: { ...annotations, [sourceDiffIdAnnotation]: tar } };
}

/** Annotations of the old descriptor that say nothing of its encoding stay, and members that nobody here knows. */
function descriptorOf({ mediaType, digest, size, annotations }: EncodedLayer, old: Descriptor): Descriptor {
  return {
    mediaType,
    digest,
    size,
    annotations: { ...stripSeekableAnnotations(old.annotations ?? {}), ...dataRole(old), ...annotations },
    ...omit(old, 'mediaType', 'digest', 'size', 'annotations', 'data', 'urls'),
  };
}

/** A data-only layer stays one; whether others are lower layers depends on their place. */
function dataRole(old: Descriptor): Record<string, string> {
  return roleOf(old) === 'data' ? { [specAnnotations.role]: 'overlay-data' } : {};
}
