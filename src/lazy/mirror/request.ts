import { isIP } from 'node:net';
import { failure } from '../../errors';
import { isDigest } from '../../format/digest';
import { parseReference } from '../../oci/reference';

/** What a client of the mirror asks for. */
export interface MirrorRequest {
  method: 'GET' | 'HEAD';
  /** Of the upstreams. */
  host: string;
  repository: string;
  kind: 'manifests' | 'blobs' | 'tags' | 'referrers';
  /** A tag or a digest; of tags: `list`. */
  reference: string;
  /** What is passed on of the query, with its question mark. */
  query: string;
}

/** A registry as `--upstream` names it: a host, perhaps with a port. @throws USAGE */
export function parseUpstream(text: string): string {
  const { transport, ...reference } = parseReference(`docker://${text}/name`);
  if (transport === 'docker' && 'host' in reference && reference.host === text && !text.includes('/'))
    return text.toLowerCase();
  throw failure('USAGE', text, 'it is no host of a registry', 'registry.example, or registry.example:5000');
}

/** A refusal, as the distribution specification has it. */
export class MirrorError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

const maxUrl = 8192;
const component = '[a-z0-9]+(?:(?:\\.|__?|-+)[a-z0-9]+)*';
const repositoryPattern = new RegExp(`^${component}(?:/${component})*$`);
const tagPattern = /^\w[\w.-]{0,127}$/;
/** Parts of a query that registries know, by what is asked for. */
const passedOn: Partial<Record<MirrorRequest['kind'], readonly string[]>> = {
  tags: ['n', 'last'],
  referrers: ['artifactType', 'n', 'last'],
};

/**
 * Reads a request. Only what the distribution specification has is one; everything else is refused before anybody is asked.
 * @param upstreams the hosts that may be asked
 * @returns null for the question whether this is a registry (`/v2/`)
 * @throws MirrorError
 */
export function parseRequest(
  method: string | undefined,
  url: string | undefined,
  upstreams: readonly string[],
): MirrorRequest | null {
  if (method !== 'GET' && method !== 'HEAD')
    throw new MirrorError(405, 'UNSUPPORTED', 'this is a mirror: it answers GET and HEAD');
  const text = url ?? '';
  if (text.length > maxUrl) throw new MirrorError(414, 'UNSUPPORTED', 'the address is too long');
  if (/[^\x21-\x7e]|\\/.test(text)) throw new MirrorError(400, 'UNSUPPORTED', 'the address is malformed');
  const [path = '', query = ''] = splitAt(text, '?');
  const parameters = new URLSearchParams(query);
  if (path === '/v2/' || path === '/v2') return null;
  const host = upstreamOf(parameters, upstreams);
  const found = /^\/v2\/(.+)\/(manifests|blobs|referrers|tags)\/([^/]+)$/.exec(path);
  if (found === null)
    throw new MirrorError(404, 'UNSUPPORTED', 'a mirror has manifests, blobs, tags and referrers');
  const [, repository = '', kind = ''] = found;
  if (repository.length > 255 || !repositoryPattern.test(repository))
    throw new MirrorError(400, 'NAME_INVALID', 'this is no name of a repository');
  const asked = {
    method,
    host,
    repository,
    kind: kind as MirrorRequest['kind'],
    reference: decoded(found[3]!),
  } as const;
  checkReference(asked);
  return { ...asked, query: passedQuery(asked.kind, parameters) };
}

/** Whether the Host header of a request names this machine: what a page in a browser sends here names another. */
export function isOwnHost(header: string | undefined, listen: string): boolean {
  const name = (header ?? '').replace(/:\d+$/, '').toLowerCase();
  const plain = name.replace(/^\[|\]$/g, '');
  return isIP(plain) !== 0 || plain === 'localhost' || plain === listen.replace(/^\[|\]$/g, '').toLowerCase();
}

function upstreamOf(parameters: URLSearchParams, upstreams: readonly string[]): string {
  const named = parameters.getAll('ns');
  if (named.length > 1) throw new MirrorError(400, 'UNSUPPORTED', 'more than one upstream is named');
  const [name = upstreams.length === 1 ? upstreams[0]! : ''] = named;
  const host = upstreams.find((upstream) => upstream === name.toLowerCase());
  if (host !== undefined) return host;
  throw new MirrorError(
    404,
    'NAME_UNKNOWN',
    'this mirror does not ask that registry (serve --upstream HOST; the client names it by ?ns=HOST)',
  );
}

function checkReference({ kind, reference }: Pick<MirrorRequest, 'kind' | 'reference'>): void {
  const isFine = {
    manifests: () => isDigest(reference) || tagPattern.test(reference),
    blobs: () => isDigest(reference),
    referrers: () => isDigest(reference),
    tags: () => reference === 'list',
  }[kind]();
  if (!isFine)
    throw new MirrorError(400, kind === 'manifests' ? 'TAG_INVALID' : 'DIGEST_INVALID', 'it is malformed');
}

function passedQuery(kind: MirrorRequest['kind'], parameters: URLSearchParams): string {
  const kept = new URLSearchParams();
  for (const name of passedOn[kind] ?? []) {
    const value = parameters.get(name);
    if (value !== null) kept.set(name, value);
  }
  const text = kept.toString();
  return text === '' ? '' : `?${text}`;
}

/** containerd writes the colon of a digest as it is, others as %3A. */
function decoded(text: string): string {
  return text.replace(/%3a/gi, ':');
}

function splitAt(text: string, mark: string): string[] {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
