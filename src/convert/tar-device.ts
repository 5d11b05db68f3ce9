import { specAnnotations, stripLazyAnnotations, stripSeekableAnnotations } from '../format/annotations';
import { mediaTypes } from '../format/media-types';
import type { EncodeSettings } from '../format/profiles';
import type { ImageLayer } from '../image/image-layers';
import { encodeErofs } from '../layer/encode';
import type { EncodedBlob } from '../layer/encoded-layer';
import type { NativeSource } from '../native/binding';
import { omit } from '../oci/json';
import type { BlobDraft, BlobFile } from '../oci/store';
import { copyBlob } from './copy-blob';
import { deviceTag } from './device-tar';
import type { PlacedDevice } from './placed-layers';
import type { LayerCall, StoreRun } from './run';

/** A blob that is made but for its commit, and its index where that is a layer of its own; no draft when the destination has the blob. */
export interface MadeBlob {
  draft: BlobDraft | null;
  indexPayload: Uint8Array | null;
}

/**
 * The device of a layer that is being converted: the tar as it is, or, of a compressed one, its bytes in frames with a lone index, which
 * readers of tars understand as well. Nothing is committed here but a tar that stays as it is.
 */
export class TarDevice {
  private placed: PlacedDevice | null = null;
  private made: (MadeBlob & { placed: PlacedDevice }) | null = null;

  constructor(
    private readonly run: StoreRun,
    private readonly call: LayerCall,
  ) {}

  /** Makes a device of a tar that was compressed, and gives its tag. */
  readonly encode = async (tar: NativeSource): Promise<string> => {
    const { run, call } = this;
    const { settings, pool, destination } = run;
    const { layer, options } = call;
    const chunks = Math.ceil(tar.size / settings.chunkSize);
    const own = { ...settings, verity: null, index: 'standalone' } as const;
    const draft = await destination.createBlob();
    try {
      const encoded = await pool.compute(chunks, options.signal, (threads) =>
        encodeErofs({ image: tar }, draft, own, { ...options, threads }, `device ${layer.descriptor.digest}`),
      );
      const { descriptor, payload } = encoded.indexLayer!;
      const index = { descriptor, diffId: descriptor.digest };
      const placed = { ...encodedDevice(encoded, layer, settings), index };
      this.made = { draft, indexPayload: payload, placed };
      return deviceTag(encoded);
    } catch (error) {
      await draft.discard();
      throw error;
    }
  };

  /** The image needs its device, and the tar, in `file`, was checked: one that stays as it is is copied. */
  async keep(file: BlobFile): Promise<void> {
    const { layer, options } = this.call;
    if (this.made === null) await copyBlob(this.run.destination, file, layer.descriptor, options);
    this.placed = this.made?.placed ?? plainDevice(layer);
  }

  /** What stands before the image, and what is to be committed of it: nothing unless keep() was called. */
  async finish(): Promise<{ placed: PlacedDevice | null; made: MadeBlob | null }> {
    if (this.placed === null) await this.discard();
    return { placed: this.placed, made: this.made };
  }

  async discard(): Promise<void> {
    const { made } = this;
    this.made = null;
    await made?.draft?.discard();
  }
}

/** The tar as a device in the manifest; what a foreign layer says of other places is left out, for its blob is there. */
function plainDevice({ descriptor, diffId }: ImageLayer): PlacedDevice {
  return {
    descriptor: {
      ...omit(descriptor, 'urls', 'data'),
      mediaType: mediaTypes.ociTar,
      annotations: { ...descriptor.annotations, [specAnnotations.role]: 'device' },
    },
    diffId,
  };
}

/** The same of a tar in frames; what the old descriptor says of how it was compressed is left out as well. */
function encodedDevice(
  { digest, size, annotations, diffId }: EncodedBlob,
  { descriptor: old }: ImageLayer,
  { compression }: EncodeSettings,
): PlacedDevice {
  const kept = stripLazyAnnotations(stripSeekableAnnotations(old.annotations ?? {}));
  return {
    descriptor: {
      ...omit(old, 'urls', 'data'),
      mediaType: compression === 'zstd' ? mediaTypes.ociTarZstd : mediaTypes.ociTar,
      digest,
      size,
      annotations: { ...kept, ...annotations, [specAnnotations.role]: 'device' },
    },
    diffId,
  };
}
