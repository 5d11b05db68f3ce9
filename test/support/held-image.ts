import { gzipSync } from 'node:zlib';
import { FakeRegistry } from './fake-registry';
import { tarBytes } from './tar-bytes';

/** A small image in a registry that lets whoever asks for it wait: what reads it does not end before it is released. */
export class HeldImage {
  private waiting: (() => void)[] | null = [];

  private constructor(private readonly registry: FakeRegistry) {
    const layer = tarBytes([{ name: 'file', content: 'held' }]);
    const put = (mediaType: string, bytes: Buffer) => ({
      mediaType: `application/vnd.oci.image.${mediaType}`,
      digest: registry.putBlob('held', bytes),
      size: bytes.length,
    });
    const rootfs = { type: 'layers', diff_ids: [registry.putBlob('tar', layer)] };
    const config = JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs, config: {} });
    registry.putManifest('held', 'image', 'application/vnd.oci.image.manifest.v1+json', {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: put('config.v1+json', Buffer.from(config)),
      layers: [put('layer.v1.tar+gzip', gzipSync(layer))],
    });
    registry.misbehave = (call, response) => {
      if (!call.path.includes('/manifests/')) return false;
      this.waiting?.push(() => {
        registry.answer(call, response);
      });
      return this.waiting !== null;
    };
  }

  static async start(): Promise<HeldImage> {
    return new HeldImage(await FakeRegistry.start());
  }

  get reference(): string {
    return `docker://${this.registry.host}/held:image`;
  }

  /** From now on it is there at once. */
  release(): void {
    for (const answer of this.waiting ?? []) answer();
    this.waiting = null;
  }

  async stop(): Promise<void> {
    await this.registry.stop();
  }
}
