import { failure } from '../../errors';
import { isDigest } from '../../format/digest';
import { maxListSize, parseJson } from '../../format/json';
import { arrayMember, asObject, corrupt } from '../../oci/json';
import { maxLayers } from '../../oci/manifest';

/** An image as `manifest.json` of a `docker save` archive has it; the paths are of files in the archive. */
export interface DockerImage {
  config: string;
  tags: string[];
  /** The lowest first. */
  layers: string[];
}

const maxImages = 10_000;
const maxTags = 10_000;
/** Tags that an error lists. */
const fewTags = 20;

/**
 * Parses `manifest.json` from untrusted bytes.
 * @throws CORRUPT, UNSUPPORTED for more than 10000 of anything
 */
export function parseDockerManifest(bytes: Uint8Array, what: string): DockerImage[] {
  const list = arrayMember({ images: parseJson(bytes, what, maxListSize) }, 'images', maxImages, what);
  return list.map((value, i) => {
    const where = `${what}, image ${i}`;
    const image = asObject(value, where);
    const { Config: config } = image;
    if (typeof config !== 'string') throw corrupt(where, 'Config is not a string');
    return {
      config,
      tags: strings(image, 'RepoTags', maxTags, where),
      layers: strings(image, 'Layers', maxLayers, where),
    };
  });
}

/**
 * Parses `repositories`, the list of tags in archives before Docker 1.10.
 * @returns the ID of the top layer of each tag
 * @throws CORRUPT
 */
export function parseRepositories(bytes: Uint8Array, what: string): Map<string, string> {
  const tops = new Map<string, string>();
  for (const [name, tags] of Object.entries(asObject(parseJson(bytes, what, maxListSize), what))) {
    for (const [tag, id] of Object.entries(asObject(tags, `${what}, ${name}`))) {
      if (typeof id !== 'string' || !isLayerId(id)) throw corrupt(what, `${name}:${tag} has no layer's ID`);
      tops.set(`${name}:${tag}`, id);
    }
  }
  return tops;
}

/** What the folders of layers are called. */
export function isLayerId(text: string): boolean {
  return isDigest(`sha256:${text}`);
}

/**
 * The image that `reference` names among images with these tags: by a tag (`latest` and Docker Hub's `docker.io/library/` may be left
 * out), by `@N`, its place counted from 0, or without a reference the only one. NOT_FOUND lists the tags.
 */
export function findImage<T extends { tags: readonly string[] }>(
  images: readonly T[],
  reference: string | undefined,
  what: string,
): T {
  if (reference === undefined && images.length === 1) return images[0]!;
  const place = /^@(\d{1,5})$/.exec(reference ?? '')?.[1];
  const wanted = reference === undefined ? null : familiar(reference);
  const found =
    place === undefined
      ? images.find(({ tags }) => tags.some((tag) => familiar(tag) === wanted))
      : images[Number(place)];
  if (found !== undefined) return found;
  throw failure('NOT_FOUND', what, whyNotFound(images.length, reference), choiceOf(images));
}

function whyNotFound(count: number, reference: string | undefined): string {
  if (count === 0) return 'there is no image in it';
  return reference === undefined ? `${count} images are in it` : `there is no image "${reference}" in it`;
}

function choiceOf(images: readonly { tags: readonly string[] }[]): string {
  const tags = images.flatMap((image) => image.tags);
  if (tags.length === 0) return 'use @0 for the first';
  return `there is ${tags.slice(0, fewTags).join(', ')}${tags.length > fewTags ? ', …' : ''}`;
}

/** A tag without what goes without saying. */
function familiar(tag: string): string {
  const name = tag.replace(/^(index\.)?docker\.io\//, '').replace(/^library\//, '');
  const isTagged = name.includes('@') || name.lastIndexOf(':') > name.lastIndexOf('/');
  return isTagged ? name : `${name}:latest`;
}

function strings(object: Record<string, unknown>, name: string, limit: number, what: string): string[] {
  if (object[name] === null || object[name] === undefined) return [];
  const list = arrayMember(object, name, limit, what);
  if (!list.every((value) => typeof value === 'string')) throw corrupt(what, `${name} has what is no string`);
  return list;
}
