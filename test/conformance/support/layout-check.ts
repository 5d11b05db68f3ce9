import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { digestOf, type Descriptor } from './image';

interface Document {
  config?: Descriptor;
  layers?: Descriptor[];
  manifests?: Descriptor[];
}

/**
 * Checks that a folder is an image layout of which every descriptor that index.json leads to is there, with its size and digest.
 * Returns the names of its images and the digests that were reached.
 */
export function checkLayout(folder: string): { names: string[]; reached: Set<string> } {
  expect(JSON.parse(readFileSync(join(folder, 'oci-layout'), 'utf8'))).toEqual({
    imageLayoutVersion: '1.0.0',
  });
  const index = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as { manifests: Descriptor[] };
  expect(index.manifests.length).toBeGreaterThan(0);
  const reached = new Set<string>();
  const visit = ({ digest, size, mediaType }: Descriptor): void => {
    const [algorithm, name] = digest.split(':') as [string, string];
    const bytes = readFileSync(join(folder, 'blobs', algorithm, name));
    expect({ digest: digestOf(bytes), size: bytes.length }).toEqual({ digest, size });
    reached.add(digest);
    if (!/\.(manifest|index)\.v1\+json$/.test(mediaType)) return;
    const { config, layers = [], manifests = [] } = JSON.parse(bytes.toString()) as Document;
    for (const child of [...(config ? [config] : []), ...layers, ...manifests]) visit(child);
  };
  for (const manifest of index.manifests) visit(manifest);
  const names = index.manifests.map(
    ({ annotations }) => annotations?.['org.opencontainers.image.ref.name'] ?? '',
  );
  return { names: names.sort(), reached };
}

/** The same, and that nothing else is in the folder. */
export function checkCleanLayout(folder: string): string[] {
  const { names, reached } = checkLayout(folder);
  expect(readdirSync(folder).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
  expect(readdirSync(join(folder, 'blobs'))).toEqual(['sha256']);
  const stored = readdirSync(join(folder, 'blobs/sha256'));
  expect(stored.sort()).toEqual([...reached].map((digest) => digest.slice(7)).sort());
  return names;
}

/** Whether programs take the folder for an image layout. */
export function looksLikeLayout(folder: string): boolean {
  return existsSync(join(folder, 'oci-layout'));
}
