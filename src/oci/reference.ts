import { editDistance } from '../closest-name';
import { failure, type SeekableErofsError } from '../errors';
import { isDigest } from '../format/digest';

/** An image in a registry. `tag` is absent only when there is a digest. */
export interface RegistryReference {
  transport: 'docker';
  /** With the port; `docker.io` where none was written. */
  host: string;
  /** With `library/` where Docker Hub implies it. */
  repository: string;
  tag?: string;
  digest?: string;
}

/** Something that was named on the command line, told apart by its form alone: no file is looked at. */
export type Reference =
  | RegistryReference
  | { transport: 'oci'; path: string; reference?: string }
  | { transport: 'oci-archive'; path: string; reference?: string }
  | { transport: 'docker-archive'; path: string; reference?: string }
  | { transport: 'erofs-cache'; path: string }
  | { transport: 'http'; url: string }
  | { transport: 'file'; path: string };

const pathTransports = ['oci', 'oci-archive', 'docker-archive', 'erofs-cache'] as const;
const transports = [...pathTransports, 'docker', 'http', 'https'];
/** Transports of other tools, and the way from there: refused by name, since nobody means a file called `dir:…`. */
const foreignTransports = new Map([
  ['docker-daemon', 'docker save it into a file, and use docker-archive:FILE'],
  ['containers-storage', 'podman save --format oci-archive it into a file, and use oci-archive:FILE'],
  ['containerd', 'ctr images export it into a file, and use oci-archive:FILE'],
  ...['dir', 'ostree', 'sif', 'tarball'].map((name) => [name, 'use oci: or oci-archive:'] as const),
]);

/**
 * Parses a reference of the command line or the API. Text without a transport is the path of a layer; a path may
 * contain a colon, but what looks like a misspelt transport is refused.
 * @throws USAGE when the text fits no form.
 */
export function parseReference(text: string): Reference {
  if (text === '') throw usage('reference', 'it is empty');
  const colon = text.indexOf(':');
  const head = colon < 0 ? '' : text.slice(0, colon);
  const rest = text.slice(colon + 1);
  if (head === 'docker') return parseRegistryReference(text, rest);
  if (head === 'http' || head === 'https') return parseUrl(text);
  const transport = pathTransports.find((name) => name === head);
  if (transport !== undefined) return parsePathReference(text, transport, rest);
  refuseOtherTransports(text, head, rest);
  return { transport: 'file', path: text };
}

/** Whether text names one layer, in a file or on a web server, and not an image. Errors as parseReference(). */
export function namesLayer(text: string): boolean {
  const { transport } = parseReference(text);
  return transport === 'file' || transport === 'http';
}

/**
 * Refuses a name that a layout can't hold: `org.opencontainers.image.ref.name` has a grammar of its own.
 * @throws USAGE
 */
export function checkReferenceName(name: string): void {
  const component = /^[A-Za-z0-9]+((--|[-._:@+])[A-Za-z0-9]+)*$/;
  if (name.length > 4096 || !name.split('/').every((part) => component.test(part)) || name.startsWith('@')) {
    throw usage(
      name,
      'no legal name for an image in a layout',
      'letters, digits and single separators, like v1.2',
    );
  }
}

function usage(what: string, why: string, hint?: string): SeekableErofsError {
  return failure('USAGE', what, why, hint);
}

function parseUrl(text: string): Reference {
  if (!/^https?:\/\/[^/]/.test(text) || !URL.canParse(text)) {
    throw usage(text, 'not a valid URL', 'https://host/path/of/blob');
  }
  return { transport: 'http', url: text };
}

function parsePathReference(
  text: string,
  transport: (typeof pathTransports)[number],
  rest: string,
): Reference {
  if (transport === 'erofs-cache') {
    if (rest === '') throw usage(text, 'the folder is missing', 'erofs-cache:DIR');
    return { transport, path: rest };
  }
  const colon = rest.indexOf(':');
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const form = `${transport}:${transport === 'oci' ? 'DIR' : 'FILE'}[:REF]`;
  if (path === '') throw usage(text, 'the path is missing', form);
  if (colon < 0) return { transport, path };
  const reference = rest.slice(colon + 1);
  if (reference === '') throw usage(text, 'nothing follows the last colon', form);
  return { transport, path, reference };
}

function parseRegistryReference(text: string, rest: string): RegistryReference {
  if (!rest.startsWith('//')) throw usage(text, 'two slashes are missing', `docker://${rest}`);
  checkNoSecrets(text, rest.slice(2));
  const { name, tag, digest } = splitName(rest.slice(2));
  const { host, repository } = splitHost(name);
  if (!isHost(host))
    throw usage(text, `"${host}" is no host name`, 'docker://host[:port]/repo[:tag][@digest]');
  checkRepository(text, repository);
  if (tag !== undefined && !/^\w[\w.-]{0,127}$/.test(tag)) throw usage(text, `"${tag}" is no legal tag`);
  if (digest !== undefined && !isDigest(digest)) {
    throw usage(text, `"${digest}" is no digest`, 'sha256: and 64 hexadecimal digits');
  }
  return {
    transport: 'docker',
    host,
    repository,
    ...(tag !== undefined ? { tag } : digest === undefined && { tag: 'latest' }),
    ...(digest !== undefined && { digest }),
  };
}

/** A password that slipped in must not be taken for a tag or a digest, which errors quote. */
function checkNoSecrets(text: string, name: string): void {
  const hint = 'log in with `skopeo login` or `docker login`, or give --authfile FILE';
  if (/[?#]/.test(name)) throw usage(text, 'a reference to a registry has no query', hint);
  const after = name.slice(name.indexOf('@') + 1);
  if (after !== name && !/^[a-z0-9+._-]+:[^/@]*$/i.test(after))
    throw usage(text, 'what follows the @ is no digest, and a user’s name has no place there', hint);
}

/** Cuts `name[:tag][@digest]`; a colon before the last slash belongs to the port. */
function splitName(text: string): { name: string; tag?: string; digest?: string } {
  const at = text.indexOf('@');
  const digest = at < 0 ? {} : { digest: text.slice(at + 1) };
  const tagged = at < 0 ? text : text.slice(0, at);
  const colon = tagged.indexOf(':', tagged.lastIndexOf('/') + 1);
  if (colon < 0) return { name: tagged, ...digest };
  return { name: tagged.slice(0, colon), tag: tagged.slice(colon + 1), ...digest };
}

/** The first component is a host when it can't be a part of a repository's name on Docker Hub. */
function splitHost(name: string): { host: string; repository: string } {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const isFirstHost = /[.:A-Z[]/.test(first) || first === 'localhost';
  const host = isFirstHost ? first : 'docker.io';
  const repository = isFirstHost ? name.slice(slash + 1) : name;
  if (host !== 'docker.io' && host !== 'index.docker.io') return { host, repository };
  return { host: 'docker.io', repository: repository.includes('/') ? repository : `library/${repository}` };
}

function isHost(host: string): boolean {
  const match = /^(?:\[[0-9a-fA-F:.]+\]|([A-Za-z0-9.-]+))(?::([0-9]{1,5}))?$/.exec(host);
  if (match === null || Number(match[2] ?? 0) > 65535) return false;
  const labels = match[1]?.split('.') ?? [];
  return labels.every(
    (label) => /^[A-Za-z0-9-]+$/.test(label) && !label.startsWith('-') && !label.endsWith('-'),
  );
}

function checkRepository(text: string, repository: string): void {
  const component = /^[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*$/;
  if (repository.length <= 255 && repository.split('/').every((part) => component.test(part))) return;
  const hint = /[A-Z]/.test(repository) ? 'repository names are lower case' : 'docker://host/repo:tag';
  throw usage(text, `"${repository}" is no repository name`, hint);
}

/** What is a misspelt or foreign transport rather than a path with a colon in it. */
function refuseOtherTransports(text: string, head: string, rest: string): void {
  if (!/^[A-Za-z][A-Za-z0-9+-]*$/.test(head)) return;
  const asPath = `./${text} if it is a file`;
  const name = head.toLowerCase();
  const wayFrom = foreignTransports.get(name);
  if (wayFrom !== undefined)
    throw usage(text, `the transport "${head}:" is not one of this program`, `${wayFrom}; ${asPath}`);
  // Three letters are soon similar to something: the shorter the name, the nearer it must be.
  const near = transports.find((known) => editDistance(name, known) <= (known.length < 5 ? 1 : 2));
  if (near === undefined && !rest.startsWith('//')) return;
  const scheme =
    near !== undefined && transports.indexOf(near) >= pathTransports.length ? `${near}://` : `${near}:`;
  throw usage(
    text,
    `unknown transport "${head}:"`,
    `${near === undefined ? '' : `did you mean ${scheme}? `}${asPath}`,
  );
}
