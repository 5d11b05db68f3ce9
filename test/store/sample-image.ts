import { createHash } from 'node:crypto';
import { writeSync } from 'node:fs';
import { digestOf } from '../../src/format/digest';
import type { DestinationStore } from '../../src/oci/store';
import type { Descriptor } from '../../src/oci/types';
import { config, json, manifest, ociTypes } from '../oci/samples';

/** Writes an image of three layers (two of its own, one that all images share) made of `seed`. */
export async function writeImage(store: DestinationStore, seed: string): Promise<Descriptor> {
  const layers: Descriptor[] = [];
  for (const content of [`${seed} one`, `${seed} two`, 'shared'])
    layers.push(await writeLayer(store, content));
  const configBytes = json({ ...config(3), author: seed });
  const configDescriptor = describe(ociTypes.config, configBytes);
  await store.writeBlob(configDescriptor, configBytes);
  const bytes = json({ ...manifest(0), config: configDescriptor, layers });
  const descriptor = describe(ociTypes.manifest, bytes);
  await store.writeBlob(descriptor, bytes);
  return descriptor;
}

/** What a blob is known by. */
export function describe(mediaType: string, bytes: Uint8Array): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}

/** 100 kB that are the same for the same seed and don't repeat. */
export function layerBytes(seed: string): Buffer {
  const blocks = Array.from({ length: 3125 }, (_, i) => createHash('sha256').update(`${seed} ${i}`).digest());
  return Buffer.concat(blocks);
}

async function writeLayer(store: DestinationStore, seed: string): Promise<Descriptor> {
  const bytes = layerBytes(seed);
  const descriptor = describe(ociTypes.layer, bytes);
  const draft = await store.createBlob();
  writeSync(draft.fd, bytes);
  await draft.commit(descriptor);
  return descriptor;
}
