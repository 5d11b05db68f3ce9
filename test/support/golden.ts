import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The blobs that the Go reference made; see golden/containerd-profile/README.md. */
const folder = join(__dirname, '..', 'golden', 'containerd-profile');

/** What golden/containerd-profile/good/NAME.json says of a blob. */
export interface GoodBlob {
  name: string;
  blob: string;
  annotations: Record<string, string>;
  blob_size: number;
  image_size: number;
  inspect: {
    chunk_size: number;
    entries: { offset: number; end: number; sha512: string }[];
    table_digest: string;
    table_offset: number;
    table_payload_size: number;
    uncompressed_size: number;
    verity?: {
      algorithm: string;
      data_block_size: number;
      hash_block_size: number;
      data_blocks: number;
      offset: number;
      payload_size: number;
      uuid: string;
    };
  };
  layer_size?: number;
  layer_dmverity_json?: string;
}

/** A hostile variant of golden/containerd-profile/bad.json. */
export interface BadBlob {
  name: string;
  blob: string;
  annotations: Record<string, string>;
}

function readJson(name: string): unknown {
  return JSON.parse(readFileSync(join(folder, name), 'utf8'));
}

/** A file of the vectors, by its path in their folder. */
export function readGolden(name: string): Buffer {
  return readFileSync(join(folder, name));
}

/** All blobs of the reference. */
export function goodBlobs(): GoodBlob[] {
  const list = readJson('good.json') as { name: string; json?: string }[];
  return list.flatMap(({ name, json }) =>
    json === undefined ? [] : [{ ...(readJson(json) as Omit<GoodBlob, 'name'>), name }],
  );
}

/** All hostile variants. */
export function badBlobs(): BadBlob[] {
  return (readJson('bad.json') as { variants: BadBlob[] }).variants;
}
