import { join } from 'node:path';
import { isDigest, parseDigest } from '../format/digest';
import { mediaTypeOf, readDocument } from '../mount/kept-documents';
import type { SourceStore } from '../oci/store';

/**
 * `store`, whose manifests, indexes and configs are read from containerd's content store when it has them, which is when it pulls them. Each is
 * compared with its digest.
 * @param folder of the content store: `ROOT/io.containerd.content.v1.content`
 */
export function withOwnCopies(store: SourceStore, folder: string): SourceStore {
  return {
    name: store.name,
    resolve: async (reference) => {
      const copy = reference !== undefined && isDigest(reference) ? await readCopy(folder, reference) : null;
      if (copy === null) return store.resolve(reference);
      return { mediaType: mediaTypeOf(copy), digest: reference!, size: copy.length };
    },
    readJson: async (descriptor) => {
      const copy = await readCopy(folder, descriptor.digest);
      return copy?.length === descriptor.size ? copy : store.readJson(descriptor);
    },
    openBlob: (descriptor) => store.openBlob(descriptor),
    openFile: (descriptor, options) => store.openFile(descriptor, options),
    close: () => store.close(),
  };
}

/** Null unless it is there, and what its digest says: the registry has it then. */
async function readCopy(folder: string, digest: string): Promise<Buffer | null> {
  const { algorithm, hex } = parseDigest(digest);
  return readDocument(join(folder, 'blobs', algorithm, hex), digest).catch(() => null);
}
