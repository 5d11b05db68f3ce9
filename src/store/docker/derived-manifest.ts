import { failure } from '../../errors';
import { digestOf, formatDigest } from '../../format/digest';
import { mediaTypes } from '../../format/media-types';
import type { JobOptions } from '../../job';
import { native } from '../../native/binding';
import { runNative } from '../../native/run';
import { serializeJson } from '../../format/json';
import type { BlobFile } from '../../oci/store';
import type { Descriptor, Manifest } from '../../oci/types';

/** The descriptors and the manifest of an image that was stored without any, and where the bytes behind them are. */
export class DerivedManifest {
  private readonly files = new Map<string, string>();
  private readonly documents = new Map<string, Buffer>();

  constructor(
    private readonly name: string,
    private readonly options: JobOptions,
  ) {}

  /**
   * Adds a layer, and returns its descriptor. A tar has its DiffID for a digest: that is what the config says, and whoever reads the
   * layer checks it. Only a compressed one must be read for its digest.
   */
  async addLayer(path: string, file: BlobFile, diffId: string): Promise<Descriptor> {
    const { size } = file;
    const magic = (await file.read(0, Math.min(4, size))).toString('hex');
    const mediaType = layerType(magic);
    const digest = mediaType === mediaTypes.ociTar ? diffId : await this.hash(file);
    this.files.set(digest, path);
    return { mediaType, digest, size };
  }

  /** Adds config and manifest, and returns the manifest's descriptor. */
  addManifest(config: Buffer, layers: Descriptor[]): Descriptor {
    const manifest: Manifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: this.addDocument(mediaTypes.ociConfig, config),
      layers,
    };
    return this.addDocument(mediaTypes.ociManifest, serializeJson(manifest, this.name));
  }

  /** A config or a manifest. NOT_FOUND for other blobs. */
  document(descriptor: Descriptor): Buffer {
    return this.documents.get(descriptor.digest) ?? this.missing(descriptor);
  }

  /** The path of a layer's file. NOT_FOUND for other blobs. */
  path(descriptor: Descriptor): string {
    return this.files.get(descriptor.digest) ?? this.missing(descriptor);
  }

  private addDocument(mediaType: string, bytes: Buffer): Descriptor {
    const digest = digestOf(bytes);
    this.documents.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  }

  private async hash(file: BlobFile): Promise<string> {
    const source = new native.Source(file);
    try {
      return formatDigest(
        'sha256',
        await runNative(this.options, (job) => native.hashSource(source, job), file.name),
      );
    } finally {
      source.close();
    }
  }

  private missing({ digest }: Descriptor): never {
    throw failure('NOT_FOUND', `blob ${digest}`, `it is not in ${this.name}`);
  }
}

function layerType(magic: string): string {
  if (magic.startsWith('1f8b')) return mediaTypes.ociTarGzip;
  return magic === '28b52ffd' ? mediaTypes.ociTarZstd : mediaTypes.ociTar;
}
