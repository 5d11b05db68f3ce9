import { credentialsFromHelper } from './credential-helper';
import { authFiles, readAuthFile, type AuthEntry, type AuthFile } from './auth-file';

/** What an image's user may show a registry. */
export interface Credentials extends AuthEntry {
  /** The file, and the helper if there is one, for errors. */
  origin: string;
}

/** The credentials that were found, if any, and where they were looked for. */
export interface CredentialSearch {
  found: Credentials | null;
  looked: string[];
}

/** Docker Hub has had many names. */
const hubNames = ['docker.io', 'index.docker.io', 'registry-1.docker.io'];
const hubServer = 'https://index.docker.io/v1/';

/**
 * Looks for the credentials for a repository, in the first file that has some: `authFile` alone where it is given, then REGISTRY_AUTH_FILE
 * alone, else those of Docker and Podman. In a file, the host's helper goes first, then the most specific entry (`host/org/repo` before
 * `host`), then the helper for everything.
 */
export async function findCredentials(
  name: { host: string; repository: string },
  authFile?: string,
): Promise<CredentialSearch> {
  const looked: string[] = [];
  for (const { path, isRequired } of authFiles(authFile)) {
    const file = await readAuthFile(path, isRequired);
    looked.push(file === null ? `${path} (absent)` : path);
    const found = file === null ? null : await search(file, name, path, looked);
    if (found !== null) return { found, looked };
  }
  return { found: null, looked };
}

async function search(
  file: AuthFile,
  { host, repository }: { host: string; repository: string },
  path: string,
  looked: string[],
): Promise<Credentials | null> {
  const server = host === 'docker.io' ? hubServer : host;
  const ask = async (helper: string): Promise<Credentials | null> => {
    const answer = await credentialsFromHelper(helper, server, path);
    looked.push(`docker-credential-${helper}${answer === 'absent' ? ' (not installed)' : ''}`);
    return answer === 'absent' || answer === null
      ? null
      : { ...answer, origin: `docker-credential-${helper} of ${path}` };
  };
  const own = [...file.helpers].find(([key]) => namesHost(key, host));
  const fromOwn = own === undefined ? null : await ask(own[1]);
  if (fromOwn !== null) return fromOwn;
  const entry = mostSpecific(file.entries, host, repository);
  if (entry !== null) return { ...entry, origin: path };
  return file.defaultHelper === null ? null : ask(file.defaultHelper);
}

function mostSpecific(
  entries: ReadonlyMap<string, AuthEntry>,
  host: string,
  repository: string,
): AuthEntry | null {
  const parts = [host, ...repository.split('/')];
  for (let length = parts.length; length > 1; length--) {
    const entry = entries.get(parts.slice(0, length).join('/'));
    if (entry !== undefined) return entry;
  }
  const exact = entries.get(host);
  if (exact !== undefined) return exact;
  return [...entries].find(([key]) => namesHost(key, host))?.[1] ?? null;
}

/** Keys are hosts; Docker's old ones are URLs. */
function namesHost(key: string, host: string): boolean {
  const bare = key.replace(/^https?:\/\//, '').replace(/(\/v[12])?\/?$/, '');
  return bare === host || (host === 'docker.io' && hubNames.includes(bare));
}
