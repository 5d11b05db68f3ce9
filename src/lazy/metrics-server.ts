import { createServer, type Server } from 'node:http';
import { failure, fromSystemError } from '../errors';
import type { LazyMetrics } from './metrics';

/** An address and a port, as `--metrics` takes them: `127.0.0.1:9100`, `[::1]:9100`. USAGE for anything else. */
export function parseListen(text: string): { host: string; port: number } {
  const [, bracketed, plain, digits = ''] =
    /^(?:\[([0-9a-f:.]+)\]|([^\s:/[\]]+)):(\d{1,5})$/i.exec(text) ?? [];
  const [host, port] = [bracketed ?? plain, Number(digits)];
  if (host === undefined || port > 65_535)
    throw failure('USAGE', text, 'it is no address with a port', '127.0.0.1:9100');
  return { host, port };
}

/** Answers `GET /metrics`, and `GET /healthz` with 200 as long as it can answer. Returns what ends it. @throws IO when the address can't be had */
export async function serveMetrics(listen: string, metrics: LazyMetrics): Promise<() => void> {
  const server: Server = createServer((request, response) => {
    if (request.url !== '/metrics' && request.url !== '/healthz') {
      response.writeHead(404).end();
    } else if (request.method !== 'GET') {
      response.writeHead(405, { allow: 'GET' }).end();
    } else if (request.url === '/healthz') {
      response.writeHead(200, { 'content-type': 'text/plain' }).end('ok\n');
    } else {
      metrics.text().then(
        (text) => response.writeHead(200, { 'content-type': metrics.contentType }).end(text),
        () => response.writeHead(500).end(),
      );
    }
  });
  server.requestTimeout = 10_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(parseListen(listen), resolve);
  }).catch((error: unknown) => {
    throw fromSystemError(listen, error);
  });
  return () => {
    server.closeAllConnections();
    server.close();
  };
}
