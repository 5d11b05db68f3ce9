import { native, type NativeSource } from '../native/binding';
import type { BlobReader } from '../layer/open-blob';
import type { BlobFile } from '../oci/store';
import type { ByteSource } from '../source/byte-source';

/** The sources of a view that native code can read by itself, since they lie in local files. */
export class LocalSources {
  private readonly makers = new Map<ByteSource, () => NativeSource>();
  private readonly opened = new Map<ByteSource, NativeSource>();

  constructor(private readonly threads: number) {}

  /** Adds a layer's image that was opened from `stored`: that itself, or the image in a seekable blob. */
  add(image: ByteSource, stored: ByteSource): void {
    const blob = isBlob(image) ? image : null;
    // An image that was decompressed whole lies elsewhere.
    if (!isFile(stored) || (blob === null && image !== stored)) return;
    this.makers.set(image, () => {
      const file = new native.Source(stored);
      return blob === null
        ? file
        : native.decodedSource(file, blob.section.frames, { threads: this.threads });
    });
  }

  /** Opened when it is first asked for; null when it is no local file. */
  get(source: ByteSource): NativeSource | null {
    const known = this.opened.get(source);
    if (known !== undefined) return known;
    const made = this.makers.get(source)?.();
    if (made !== undefined) this.opened.set(source, made);
    return made ?? null;
  }

  close(): Promise<void> {
    for (const source of this.opened.values()) source.close();
    this.opened.clear();
    return Promise.resolve();
  }
}

function isFile(source: ByteSource): source is BlobFile {
  return 'fd' in source && 'offset' in source;
}

function isBlob(source: ByteSource): source is BlobReader {
  return 'section' in source;
}
