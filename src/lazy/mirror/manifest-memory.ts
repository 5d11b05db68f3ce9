import { LruMap } from '../../erofs/lru-map';
import type { SourceStore } from '../../oci/store';
import { isKeptAsManifest } from '../../store/registry/manifests';

/** Bytes that all manifests together may have; of each, this many more are counted, so that their number has a limit as well. */
const room = 16 << 20;
const overhead = 2048;

/** A manifest, checked against its digest. */
export interface KnownManifest {
  bytes: Buffer;
  /** Of the answer that it is given with. */
  headers: Readonly<Record<string, string>>;
}

type Store = Pick<SourceStore, 'readJson'>;

/** Manifests that a registry was asked for, so that it is not asked again: the mirror wants them before its client does. */
export class ManifestMemory {
  private readonly known = new LruMap<string, KnownManifest>(room);

  /** @param place `host/repository`: who may see one there may not see another's */
  get(place: string, digest: string): KnownManifest | undefined {
    return this.known.get(`${place}@${digest}`);
  }

  set(place: string, digest: string, manifest: KnownManifest): void {
    this.known.set(`${place}@${digest}`, manifest, manifest.bytes.length + overhead);
  }

  /** `store`, asked only for those manifests that are not known yet. */
  over(place: string, store: Store): Store {
    return {
      readJson: async (descriptor) => {
        const { digest, size, mediaType } = descriptor;
        const known = this.get(place, digest);
        if (known?.bytes.length === size) return known.bytes;
        const bytes = await store.readJson(descriptor);
        if (isKeptAsManifest(mediaType))
          this.set(place, digest, { bytes, headers: { 'content-type': mediaType } });
        return bytes;
      },
    };
  }
}
