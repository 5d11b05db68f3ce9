import { isIP } from 'node:net';
import type { SecureContext } from 'node:tls';
import { createHttpClient } from '../../source/http-client';

/** Local servers answer at once; a registry behind a proxy may take its time. */
const probeTimeout = 5000;

/**
 * Where the registry called `host` is asked. It is HTTPS, unless the host is loopback or `insecureHttp` is set, and nothing answers TLS
 * there. A certificate that nobody vouches for is an answer: it does not lead to plain HTTP.
 */
export async function chooseOrigin(
  host: string,
  options: ProbeOptions & { insecureHttp?: boolean | undefined },
): Promise<URL> {
  const secure = new URL(`https://${apiHost(host)}`);
  const mayBePlain = host !== 'docker.io' && (isLoopback(host) || options.insecureHttp === true);
  if (!mayBePlain || (await answersTls(secure, options))) return secure;
  return new URL(`http://${host}`);
}

interface ProbeOptions {
  identity: SecureContext;
  noProxy: string;
  signal?: AbortSignal | undefined;
}

/** Nothing is sent that is worth a secret, so that any certificate will do. */
async function answersTls(origin: URL, { identity, noProxy, signal }: ProbeOptions): Promise<boolean> {
  const client = await createHttpClient({
    timeout: probeTimeout,
    connectTimeout: probeTimeout,
    connections: 1,
    tls: { secureContext: identity, rejectUnauthorized: false },
    noProxy,
  });
  try {
    await (await client.get(new URL('/v2/', origin), {}, signal)).discard();
    return true;
  } catch (error) {
    if (signal?.aborted === true) throw error;
    const { cause } = error as { cause?: NodeJS.ErrnoException };
    // Without a cause it is no fault of the network but a redirect that is not followed. An alert is TLS, too: the server wants a
    // client's certificate, say.
    return cause === undefined || /alert/i.test(`${cause.code ?? ''} ${cause.message}`);
  } finally {
    await client.close();
  }
}

/** The host that answers for the registry called `host`. */
export function apiHost(host: string): string {
  return host === 'docker.io' ? 'registry-1.docker.io' : host;
}

/** Whether `host`, with or without a port, is this machine and nothing else. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, '').toLowerCase();
  return name === 'localhost' || name === '[::1]' || (isIP(name) === 4 && name.startsWith('127.'));
}
