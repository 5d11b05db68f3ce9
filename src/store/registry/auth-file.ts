import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { failure, fromSystemError } from '../../errors';
import { asObject, parseJsonObject, type JsonObject } from '../../oci/json';

/** What a file or a helper says about one host or repository: a name with a password, an identity token, or a registry token. */
export interface AuthEntry {
  login?: { username: string; password: string };
  /** An OAuth2 refresh token, for the token server. */
  identityToken?: string;
  /** For the registry itself. */
  registryToken?: string;
}

/** Docker's `config.json`, or the `auth.json` of Podman and Skopeo. */
export interface AuthFile {
  /** By host, `host/path`, or one of Docker's old URLs. */
  entries: ReadonlyMap<string, AuthEntry>;
  /** Host → name of a credential helper. */
  helpers: ReadonlyMap<string, string>;
  /** The helper for all hosts. */
  defaultHelper: string | null;
}

/** Where credentials are looked for, in order. Files that were named must be there. */
export function authFiles(authFile?: string): { path: string; isRequired: boolean }[] {
  const { REGISTRY_AUTH_FILE, DOCKER_CONFIG, XDG_RUNTIME_DIR, XDG_CONFIG_HOME } = process.env;
  const named = authFile ?? (REGISTRY_AUTH_FILE === '' ? undefined : REGISTRY_AUTH_FILE);
  if (named !== undefined) return [{ path: named, isRequired: true }];
  const runtime = XDG_RUNTIME_DIR ?? `/run/containers/${process.getuid?.() ?? 0}`;
  const paths = [
    ...(DOCKER_CONFIG === undefined ? [] : [join(DOCKER_CONFIG, 'config.json')]),
    join(runtime, XDG_RUNTIME_DIR === undefined ? 'auth.json' : 'containers/auth.json'),
    join(XDG_CONFIG_HOME ?? join(homedir(), '.config'), 'containers/auth.json'),
    join(homedir(), '.docker/config.json'),
  ];
  return paths.map((path) => ({ path, isRequired: false }));
}

/** Reads a file with credentials; null when it isn't there and need not be. No error repeats anything of its content. */
export async function readAuthFile(path: string, isRequired: boolean): Promise<AuthFile | null> {
  const bytes = await readFile(path).catch((error: unknown) => {
    if (!isRequired && ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? ''))
      return null;
    throw fromSystemError(path, error);
  });
  return bytes === null ? null : parseAuthFile(bytes, path);
}

function parseAuthFile(bytes: Buffer, path: string): AuthFile {
  let object: JsonObject;
  try {
    object = parseJsonObject(bytes, path);
  } catch {
    // The parser's own message quotes what it stumbled upon.
    throw failure(
      'CORRUPT',
      path,
      'it is no JSON object',
      'write it anew with `skopeo login` or `docker login`',
    );
  }
  const { credsStore } = object;
  const entries = new Map<string, AuthEntry>();
  for (const [key, value] of members(object, 'auths', path)) {
    const entry = parseEntry(value, key, path);
    if (entry !== null) entries.set(key, entry);
  }
  return {
    entries,
    helpers: new Map(members(object, 'credHelpers', path).map(([key, name]) => [key, String(name)])),
    defaultHelper: typeof credsStore === 'string' && credsStore !== '' ? credsStore : null,
  };
}

function members(object: JsonObject, name: string, path: string): [string, unknown][] {
  return Object.entries(asObject(object[name] ?? {}, `${path}, ${name}`));
}

/** Null for an entry that says nothing: Docker leaves such where a helper has the password. */
function parseEntry(value: unknown, key: string, path: string): AuthEntry | null {
  const { auth, username, password, identitytoken, registrytoken } = asObject(value, `${path}, ${key}`);
  const text = (member: unknown): string => (typeof member === 'string' ? member : '');
  if (text(registrytoken) !== '') return { registryToken: text(registrytoken) };
  if (text(identitytoken) !== '') return { identityToken: text(identitytoken) };
  if (text(auth) === '') {
    return text(username) === '' ? null : { login: { username: text(username), password: text(password) } };
  }
  const pair = Buffer.from(text(auth), 'base64').toString();
  const colon = pair.indexOf(':');
  if (colon < 0) {
    throw failure('CORRUPT', path, `"auth" of ${key} is no name and password`, 'log in again');
  }
  // Docker used to pad passwords with zeros.
  return { login: { username: pair.slice(0, colon), password: pair.slice(colon + 1).replace(/\0+$/, '') } };
}
