import { failure } from '../errors';
import { specAnnotations } from '../format/annotations';
import { layerFormat } from '../format/media-types';
import type { Descriptor } from '../oci/types';

/*
 * How the layers of an image become one tree: sections 2.4, 3.8 and 7 of the draft EROFS image specification, which is summed up in
 * docs/format/erofs-image-spec-profile.md. Images without roles and lone indexes (tars, profile "containerd") are lower layers alone.
 */

/** What a layer is in its image: a lower folder of the overlay, one that is asked for file data only, or bytes that others point into. */
export type LayerRole = 'lower' | 'data' | 'device';

/** Rules of composition; every refusal names one. docs/format/erofs-image-spec-profile.md explains them. */
export type CompositionRule =
  | 'role-value'
  | 'role-media-type'
  | 'layer-media-type'
  | 'mixed-layers'
  | 'last-entry'
  | 'index-first'
  | 'index-of-index'
  | 'index-target'
  | 'diff-ids'
  | 'device-count'
  | 'device-size'
  | 'data-redirect';

/** What to say of an image that breaks a rule: CORRUPT, or MISMATCH where two of its parts contradict each other. */
export function brokenRule(
  what: string,
  rule: CompositionRule,
  why: string,
  code: 'CORRUPT' | 'MISMATCH' = 'CORRUPT',
): Error {
  return failure(code, what, `${why}: it breaks the rule "${rule}"`);
}

/** A chunk index that is a layer of its own. */
export function isIndexLayer({ mediaType }: Pick<Descriptor, 'mediaType'>): boolean {
  return layerFormat(mediaType)?.kind === 'chunk-index';
}

const roles: Readonly<Record<string, LayerRole>> = {
  'overlay-lower': 'lower',
  'overlay-data': 'data',
  device: 'device',
};

/** The role of a layer that is no chunk index. CORRUPT for one that the draft does not know. */
export function roleOf({ digest, annotations }: Pick<Descriptor, 'digest' | 'annotations'>): LayerRole {
  const said = annotations?.[specAnnotations.role];
  if (said === undefined) return 'lower';
  const role = Object.hasOwn(roles, said) ? roles[said] : undefined;
  if (role !== undefined) return role;
  throw brokenRule(`layer ${digest}`, 'role-value', `its role "${said}" is not known`);
}

/** The way out where containerd's erofs snapshotter can't mount an image. */
export const ownSnapshotter = 'our snapshotter can: serve --snapshotter';

/** What containerd's erofs snapshotter can do with a layer is to mount it as a lower one: UNSUPPORTED for other roles. */
export function refuseOtherRoles(layer: Pick<Descriptor, 'digest' | 'annotations'>): void {
  if (roleOf(layer) === 'lower') return;
  const why = `it has the role ${layer.annotations![specAnnotations.role]!}, which containerd's erofs snapshotter can not mount`;
  throw failure('UNSUPPORTED', layer.digest, why, ownSnapshotter);
}

/** Checks the order of a manifest's layers, and that each may have its role. CORRUPT names the rule that is broken. */
export function checkComposition(layers: readonly Descriptor[]): void {
  if (!isDraftImage(layers)) return;
  for (const [i, layer] of layers.entries()) {
    if (isIndexLayer(layer)) checkIndexPlace(layer, layers[i - 1]);
    else checkRole(layer);
  }
  const last = layers.at(-1)!;
  if (!isIndexLayer(last) && roleOf(last) === 'lower') return;
  const role = isIndexLayer(last) ? 'a chunk index' : `of role ${last.annotations![specAnnotations.role]!}`;
  const why = `the last layer must be one that is mounted, and it is ${role}`;
  throw brokenRule(`layer ${last.digest}`, 'last-entry', why);
}

/** Whether rules of composition hold for an image of these layers. */
export function isDraftImage(layers: readonly Descriptor[]): boolean {
  return layers.some(isOfDraft);
}

/** Whether a layer is one that only the draft has. */
function isOfDraft({ mediaType, annotations }: Descriptor): boolean {
  const format = layerFormat(mediaType);
  if (format?.kind === 'chunk-index' || annotations?.[specAnnotations.role] !== undefined) return true;
  return format?.kind === 'erofs' && format.profile === 'erofs-image-spec';
}

function checkIndexPlace({ digest, annotations }: Descriptor, before: Descriptor | undefined): void {
  const what = `chunk index ${digest}`;
  const why = 'there is no layer right before it that it could be for';
  if (before === undefined) throw brokenRule(what, 'index-first', why);
  if (isIndexLayer(before)) throw brokenRule(what, 'index-of-index', why);
  const target = annotations?.[specAnnotations.indexTarget];
  if (target === undefined || target === before.digest) return;
  const contradiction = `it is for ${target}, but the layer before it is ${before.digest}`;
  throw brokenRule(what, 'index-target', contradiction, 'MISMATCH');
}

function checkRole(layer: Descriptor): void {
  if (roleOf(layer) === 'device') return;
  const { mediaType, digest, annotations } = layer;
  const said = annotations?.[specAnnotations.role];
  const format = layerFormat(mediaType);
  const what = `layer ${digest}`;
  if (said !== undefined && (format?.kind !== 'erofs' || format.profile !== 'erofs-image-spec'))
    throw brokenRule(what, 'role-media-type', `${mediaType} can not have the role ${said}`);
  if (format === null) {
    const why = `its media type ${mediaType} is not known, and it has not the role of a device`;
    throw brokenRule(what, 'layer-media-type', why);
  }
  if (format.kind === 'tar')
    throw brokenRule(what, 'mixed-layers', `a tar (${mediaType}) among layers of EROFS, and no device`);
}

/** A layer that is mounted, and the devices that its image keeps data on, in its order. */
export type Composed<L> = L & { devices: L[] };

/** What a mount, or a merged view, is made of. */
export interface Composition<L> {
  /** The lowest first. */
  lowers: Composed<L>[];
  /** Data-only layers, the one that is asked first in front: that which is highest in the manifest. The draft leaves their order open. */
  data: Composed<L>[];
}

/** Which device is for which layer, of layers (without lone indexes) that checkComposition() let pass. */
export function compose<L extends { descriptor: Descriptor }>(layers: readonly L[]): Composition<L> {
  const composition: Composition<L> = { lowers: [], data: [] };
  let devices: L[] = [];
  for (const layer of layers) {
    const role = roleOf(layer.descriptor);
    if (role === 'device') {
      devices.push(layer);
      continue;
    }
    const composed = { ...layer, devices };
    devices = [];
    if (role === 'data') composition.data.unshift(composed);
    else composition.lowers.push(composed);
  }
  return composition;
}
