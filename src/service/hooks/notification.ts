import { failure } from '../../errors';
import { isIndexType, isManifestType } from '../../format/media-types';
import { isDigest } from '../../format/digest';
import { parseReference } from '../../oci/reference';

/** An image that was pushed, as a registry or somebody else tells. */
export interface Pushed {
  /** Of the registry; undefined where nobody says. */
  host?: string | undefined;
  repository: string;
  tag: string;
  digest?: string | undefined;
}

/** Events of one request; a registry that was away for long sends few together. */
const maxEvents = 1000;

type Json = Record<string, unknown>;

/**
 * The images that a notification tells of: Distribution's (`events`), Harbor's (`event_data`), or plain JSON: `{"image":"docker://…:TAG","digest"}`,
 * or a list of these. What is no push of a tag (pulls, blobs, deletions) is left out. USAGE for anything else.
 */
export function parseNotification(body: unknown): Pushed[] {
  if (Array.isArray(body)) return bounded(body).flatMap((one) => plain(object(one)));
  const { events, event_data: data, type } = object(body);
  if (Array.isArray(events)) return bounded(events).flatMap((event) => ofDistribution(object(event)));
  if (data !== undefined) return ofHarbor(type, object(data));
  return plain(object(body));
}

function ofDistribution({ action, target, request }: Json): Pushed[] {
  if (action !== 'push') return [];
  const { mediaType, repository, tag, digest } = object(target);
  if (
    typeof mediaType !== 'string' ||
    !(isManifestType(mediaType) || isIndexType(mediaType)) ||
    typeof tag !== 'string'
  )
    return [];
  const { host } = isObject(request) ? request : {};
  return [pushed({ host, repository, tag, digest })];
}

function ofHarbor(type: unknown, { resources, repository }: Json): Pushed[] {
  if (typeof type !== 'string' || !/^push/i.test(type)) return [];
  if (!Array.isArray(resources)) throw refused('"resources" is no list');
  const { repo_full_name: name } = object(repository);
  return bounded(resources).flatMap((one) => {
    const { tag, digest, resource_url: url } = object(one);
    if (typeof tag !== 'string' || tag === '') return [];
    const host = typeof url === 'string' ? url.split('/')[0] : undefined;
    return [pushed({ host, repository: name, tag, digest })];
  });
}

function plain({ image, digest }: Json): Pushed[] {
  if (typeof image !== 'string' || image.length > 1000) throw refused('it has no "image"');
  const reference = parseReference(image);
  if (reference.transport !== 'docker' || reference.tag === undefined)
    throw refused('"image" must be docker://HOST/REPO:TAG');
  const { host, repository, tag } = reference;
  return [pushed({ host, repository, tag, digest: digest ?? reference.digest })];
}

/** Names are checked: they become parts of destinations. */
function pushed({ host, repository, tag, digest }: Record<keyof Pushed, unknown>): Pushed {
  if (typeof repository !== 'string' || typeof tag !== 'string') throw refused('it names no image');
  if (digest !== undefined && (typeof digest !== 'string' || !isDigest(digest))) throw refused('bad digest');
  const parsed = parseReference(`docker://host.example/${repository}:${tag}`);
  if (parsed.transport !== 'docker' || parsed.repository !== repository || parsed.tag !== tag)
    throw refused('an illegal name');
  return { host: typeof host === 'string' ? host : undefined, repository, tag, digest };
}

function bounded(list: unknown[]): unknown[] {
  if (list.length > maxEvents) throw refused(`more than ${maxEvents} events`);
  return list;
}

function object(value: unknown): Json {
  if (!isObject(value)) throw refused('an object is expected');
  return value;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refused(why: string): Error {
  return failure('USAGE', 'notification', why, 'see docs/service.md');
}
