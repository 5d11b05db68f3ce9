import { isIP } from 'node:net';
import type { SecureContext } from 'node:tls';
import { SeekableErofsError } from '../../errors';
import { createHttpClient } from '../../source/http-client';

/** Local servers answer at once; a registry behind a proxy may take its time. */
const probeTimeout = 5000;

/**
 * Where the registry called `host` is asked. It is HTTPS, unless the host is loopback or `insecureHttp` is set, and what answers there speaks
 * no TLS. A certificate that nobody vouches for is an answer: it does not lead to plain HTTP, and no more does a registry that is away: IO
 * then, which may pass.
 */
export async function chooseOrigin(
  host: string,
  options: ProbeOptions & { insecureHttp?: boolean | undefined },
): Promise<URL> {
  const secure = new URL(`https://${apiHost(host)}`);
  const mayBePlain = host !== 'docker.io' && (isLoopback(host) || options.insecureHttp === true);
  if (!mayBePlain) return secure;
  const fault = await faultOf(secure, options);
  if (fault === null || isOfTls(fault)) return secure;
  const plain = new URL(`http://${host}`);
  if (isForeignProtocol(fault)) return plain;
  // Nobody is there, or somebody who hangs up: on TLS alone, or at all.
  const plainFault = await faultOf(plain, options);
  if (plainFault === null) return plain;
  throw plainFault;
}

interface ProbeOptions {
  identity: SecureContext;
  noProxy: string;
  signal?: AbortSignal | undefined;
}

/** Why a server does not answer; null when it does. Nothing is sent that is worth a secret, so that any certificate will do. */
async function faultOf(
  origin: URL,
  { identity, noProxy, signal }: ProbeOptions,
): Promise<SeekableErofsError | null> {
  const client = await createHttpClient({
    timeout: probeTimeout,
    connectTimeout: probeTimeout,
    connections: 1,
    tls: { secureContext: identity, rejectUnauthorized: false },
    noProxy,
  });
  try {
    await (await client.get(new URL('/v2/', origin), {}, signal)).discard();
    return null;
  } catch (error) {
    if (signal?.aborted === true || !(error instanceof SeekableErofsError)) throw error;
    // Without a cause it is no fault of the network but a redirect that is not followed.
    return error.cause === undefined ? null : error;
  } finally {
    await client.close();
  }
}

/** The host that answers for the registry called `host`. Exported for its test. */
export function apiHost(host: string): string {
  return host === 'docker.io' ? 'registry-1.docker.io' : host;
}

/** Whether `host`, with or without a port, is this machine and nothing else. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, '').toLowerCase();
  return name === 'localhost' || name === '[::1]' || (isIP(name) === 4 && name.startsWith('127.'));
}

/** An alert is TLS, too: the server wants a client's certificate, say. */
function isOfTls({ cause, why }: SeekableErofsError): boolean {
  const { code = '' } = cause as NodeJS.ErrnoException;
  return /alert/i.test(`${code} ${why}`);
}

/** What answers is no TLS at all. */
function isForeignProtocol({ why }: SeekableErofsError): boolean {
  return /wrong version number|packet length too long|http request/i.test(why);
}
