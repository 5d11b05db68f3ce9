import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { failure, fromSystemError } from './errors';

/** An address and a port, as `--metrics` and `--listen` take them: `127.0.0.1:9100`, `[::1]:9100`. USAGE for anything else. */
export function parseListen(text: string): { host: string; port: number } {
  const [, bracketed, plain, digits = ''] =
    /^(?:\[([0-9a-f:.]+)\]|([^\s:/[\]]+)):(\d{1,5})$/i.exec(text) ?? [];
  const [host, port] = [bracketed ?? plain, Number(digits)];
  if (host === undefined || port > 65_535)
    throw failure('USAGE', text, 'it is no address with a port', '127.0.0.1:9100');
  return { host, port };
}

/** Has a server listen at such an address. Resolves with its URL, where the port is the one that it got. @throws IO when the address can't be had */
export async function startListening(server: Server, listen: string): Promise<string> {
  const { host, port } = parseListen(listen);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen({ host, port }, resolve);
  }).catch((error: unknown) => {
    throw fromSystemError(listen, error);
  });
  const bound = (server.address() as AddressInfo).port;
  return `http://${host.includes(':') ? `[${host}]` : host}:${bound}/`;
}

/** Resolves when `signal` is aborted; never without one. */
export function untilAborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      resolve();
    };
    if (signal?.aborted === true) end();
    else signal?.addEventListener('abort', end, { once: true });
  });
}
