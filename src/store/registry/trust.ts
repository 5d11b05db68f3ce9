import { X509Certificate } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import { failure, fromSystemError } from '../../errors';

/** Where systems keep the authorities that they trust, in one file. */
const systemBundles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** What a folder has for one registry. */
interface Certificates {
  folder: string;
  authorities: Buffer[];
  /** What this client shows of itself. */
  pairs: { cert: Buffer; key: Buffer }[];
}

/**
 * Reads what is in `certDir`, or else in the host's folder under `certs.d` of Podman or Docker.
 * @throws NOT_FOUND when `certDir` is not there, USAGE for what is no certificate.
 */
export async function readCertificates(host: string, certDir?: string): Promise<Certificates> {
  if (certDir !== undefined) return readFolder(certDir, await listFolder(certDir));
  const places = [join(homedir(), '.config/containers'), '/etc/containers', '/etc/docker'];
  for (const place of places) {
    const folder = join(place, 'certs.d', host);
    const names = await readdir(folder).catch(() => null);
    if (names !== null) return readFolder(folder, names);
  }
  return { folder: 'certificates of this system', authorities: [], pairs: [] };
}

/**
 * What a registry's client trusts: the system's authorities (SSL_CERT_FILE names another file of them, NODE_EXTRA_CA_CERTS more of them)
 * and those of its own folder.
 */
export async function trustOf(certificates: Certificates): Promise<SecureContext> {
  return contextOf(certificates, [...(await systemAuthorities()), ...certificates.authorities]);
}

/** What shows who the client is, and trusts nobody. */
export function identityOf(certificates: Certificates): SecureContext {
  return contextOf(certificates, []);
}

function contextOf({ folder, pairs }: Certificates, ca: (string | Buffer)[]): SecureContext {
  try {
    return createSecureContext({ ca, cert: pairs.map(({ cert }) => cert), key: pairs.map(({ key }) => key) });
  } catch (error) {
    throw unusable(folder, error);
  }
}

/** OpenSSL's own messages know no file. */
function unusable(what: string, error: unknown): Error {
  const { code = 'no reason given' } = error as NodeJS.ErrnoException;
  return failure('USAGE', what, `a certificate or key that can't be used: ${code}`, 'PEM is expected');
}

async function listFolder(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: unknown) => {
    throw fromSystemError(folder, error);
  });
}

async function readFolder(folder: string, names: string[]): Promise<Certificates> {
  const read = async (name: string): Promise<Buffer> =>
    readFile(join(folder, name)).catch((error: unknown) => {
      throw fromSystemError(join(folder, name), error);
    });
  const found: Certificates = { folder, authorities: [], pairs: [] };
  for (const name of names.sort()) {
    if (name.endsWith('.crt')) found.authorities.push(checked(await read(name), join(folder, name)));
    if (!name.endsWith('.cert')) continue;
    const key = `${basename(name, '.cert')}.key`;
    if (!names.includes(key)) throw failure('USAGE', join(folder, name), `its key is missing`, `add ${key}`);
    found.pairs.push({ cert: await read(name), key: await read(key) });
  }
  return found;
}

/** TLS would take no notice of what is no certificate. */
function checked(bytes: Buffer, path: string): Buffer {
  try {
    new X509Certificate(bytes);
    return bytes;
  } catch (error) {
    throw unusable(path, error);
  }
}

async function systemAuthorities(): Promise<(string | Buffer)[]> {
  const { SSL_CERT_FILE, NODE_EXTRA_CA_CERTS } = process.env;
  const extra =
    NODE_EXTRA_CA_CERTS === undefined ? null : await readFile(NODE_EXTRA_CA_CERTS).catch(() => null);
  const more = extra === null ? [] : [extra];
  for (const path of SSL_CERT_FILE === undefined ? systemBundles : [SSL_CERT_FILE]) {
    const bundle = await readFile(path).catch(() => null);
    if (bundle !== null) return [bundle, ...more];
  }
  return [...rootCertificates, ...more];
}
