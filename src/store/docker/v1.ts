import { failure } from '../../errors';
import { asObject, corrupt, parseJsonObject, type JsonObject } from '../../oci/json';
import { maxLayers } from '../../oci/manifest';
import type { ImageConfig } from '../../oci/types';
import { isLayerId } from './manifest';

/** A layer of Docker's first image format: the file `json` in its folder. */
interface V1Layer {
  id: string;
  json: JsonObject;
}

/**
 * The layers of the image whose top layer is `top`, the lowest first, as each names its parent.
 * @param read gives the content of a layer's `json`
 * @throws CORRUPT
 */
export async function readV1Layers(
  top: string,
  read: (id: string) => Promise<Uint8Array>,
  what: string,
): Promise<V1Layer[]> {
  const layers = new Map<string, V1Layer>();
  for (let id: string | undefined = top; id !== undefined;) {
    if (layers.has(id)) throw corrupt(what, `layer ${id} is below itself`);
    if (layers.size === maxLayers) throw failure('UNSUPPORTED', what, `more than ${maxLayers} layers`);
    const json = parseJsonObject(await read(id), `${what}, ${id}/json`);
    layers.set(id, { id, json });
    id = parentOf(json, `${what}, ${id}/json`);
  }
  return [...layers.values()].reverse();
}

/** The ID of the layer below; undefined for a lowest one. */
export function parentOf({ parent }: JsonObject, what: string): string | undefined {
  if (parent === undefined || parent === null || parent === '') return undefined;
  if (typeof parent !== 'string' || !isLayerId(parent)) throw corrupt(what, 'its parent is no layer');
  return parent;
}

/** The config of an image of such layers, for which these are the DiffIDs; as Docker makes it when it loads one. */
export function configOfV1(
  layers: readonly V1Layer[],
  diffIds: readonly string[],
  what: string,
): ImageConfig {
  const top = layers.at(-1)!.json;
  const { architecture, os, variant, config, created, author } = top;
  return {
    ...(typeof created === 'string' && { created }),
    ...(typeof author === 'string' && { author }),
    // Docker wrote neither at first: it ran nowhere else.
    architecture: typeof architecture === 'string' && architecture !== '' ? architecture : 'amd64',
    os: typeof os === 'string' && os !== '' ? os : 'linux',
    ...(typeof variant === 'string' && { variant }),
    config: config === undefined || config === null ? {} : asObject(config, `${what}, config`),
    rootfs: { type: 'layers', diff_ids: [...diffIds] },
    history: layers.map(({ json }) => historyOf(json)),
  };
}

function historyOf({ created, comment, container_config: container }: JsonObject) {
  const command = (container as JsonObject | null | undefined)?.['Cmd'];
  return {
    ...(typeof created === 'string' && { created }),
    ...(Array.isArray(command) && { created_by: command.map(String).join(' ') }),
    ...(typeof comment === 'string' && comment !== '' && { comment }),
  };
}
