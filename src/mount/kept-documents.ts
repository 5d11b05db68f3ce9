import { writeFile } from 'node:fs';
import { mkdir, readFile, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SeekableErofsError, fromSystemError } from '../errors';
import { digestOf, isDigest, parseDigest } from '../format/digest';
import { maxDocumentSize } from '../format/json';
import { mediaTypes } from '../format/media-types';
import { writeAtomically } from '../fs/atomic-file';
import { parseJsonObject } from '../oci/json';
import type { SourceStore } from '../oci/store';
import type { Descriptor } from '../oci/types';

/**
 * `store`, whose manifests, indexes and configs are kept in `folder` by their digests, and read from there when they are known: an image
 * that is named by its digest needs no registry then. Each is compared with its digest whenever it is read.
 */
export function keepingDocuments(store: SourceStore, folder: string): SourceStore {
  const kept = new KeptDocuments(folder);
  return {
    name: store.name,
    resolve: async (reference) => {
      const known = reference !== undefined && isDigest(reference) ? await kept.read(reference) : null;
      if (known !== null) return { mediaType: mediaTypeOf(known), digest: reference!, size: known.length };
      const descriptor = await store.resolve(reference).catch((error: unknown) => {
        throw withDigestHint(error, reference);
      });
      await kept.write(descriptor, await store.readJson(descriptor));
      return descriptor;
    },
    readJson: async (descriptor) => {
      const known = await kept.read(descriptor.digest);
      if (known?.length === descriptor.size) return known;
      const bytes = await store.readJson(descriptor);
      await kept.write(descriptor, bytes);
      return bytes;
    },
    openBlob: (descriptor) => store.openBlob(descriptor),
    openFile: (descriptor, options) => store.openFile(descriptor, options),
    close: () => store.close(),
  };
}

class KeptDocuments {
  constructor(private readonly folder: string) {}

  /** Null unless it is there, and what its digest says. */
  async read(digest: string): Promise<Buffer | null> {
    const path = this.path(digest);
    try {
      const bytes = await readDocument(path, digest);
      const now = new Date();
      if (bytes !== null) await utimes(path, now, now);
      return bytes;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw fromSystemError(path, error);
    }
  }

  async write({ digest }: Descriptor, bytes: Buffer): Promise<void> {
    const path = this.path(digest);
    try {
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw fromSystemError(this.folder, error);
    }
    await writeAtomically(path, async ({ fd }) => promisify(writeFile)(fd, bytes));
  }

  private path(digest: string): string {
    const { algorithm, hex } = parseDigest(digest);
    return join(this.folder, `${algorithm}-${hex}.json`);
  }
}

/** A copy of a document; null when it is not what its digest says. Errors are the system's. */
export async function readDocument(path: string, digest: string): Promise<Buffer | null> {
  if ((await stat(path)).size > maxDocumentSize) return null;
  const bytes = await readFile(path);
  return digestOf(bytes, parseDigest(digest).algorithm) === digest ? bytes : null;
}

/** The document's own word; what has none is told apart by what it lists. */
export function mediaTypeOf(bytes: Buffer): string {
  const document = parseJsonObject(bytes, 'manifest');
  if (typeof document['mediaType'] === 'string') return document['mediaType'];
  return 'manifests' in document ? mediaTypes.ociIndex : mediaTypes.ociManifest;
}

/** What a tag names only its registry knows. */
function withDigestHint(error: unknown, reference = 'latest'): unknown {
  if (!(error instanceof SeekableErofsError) || error.code !== 'IO' || isDigest(reference)) return error;
  if (error.hint !== undefined || error.cause === undefined) return error;
  const hint =
    'what a tag names only the registry knows: an image named by its digest (REPO@sha256:…) that was mounted lazily before needs none';
  return new SeekableErofsError(error.code, { what: error.what, why: error.why, hint, cause: error.cause });
}
