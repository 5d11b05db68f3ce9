import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { startListening } from './listening';

/** What is shown to Prometheus. */
interface Metrics {
  contentType: string;
  /** In that format. */
  text(): Promise<string>;
}

const paths = ['/metrics', '/healthz', '/readyz'];

/**
 * Answers `GET /metrics`, `GET /healthz` with 200 as long as it can answer, and `GET /readyz` with 200 while `isReady`, else 503. Others: false,
 * and nothing is answered.
 */
export function answerMetrics(
  request: IncomingMessage,
  response: ServerResponse,
  metrics: Metrics,
  isReady: () => boolean = () => true,
): boolean {
  const { url = '', method } = request;
  if (!paths.includes(url)) return false;
  if (method !== 'GET') {
    response.writeHead(405, { allow: 'GET' }).end();
  } else if (url === '/metrics') {
    metrics.text().then(
      (text) => response.writeHead(200, { 'content-type': metrics.contentType }).end(text),
      () => response.writeHead(500).end(),
    );
  } else {
    const isWell = url === '/healthz' || isReady();
    response
      .writeHead(isWell ? 200 : 503, { 'content-type': 'text/plain' })
      .end(isWell ? 'ok\n' : 'not ready\n');
  }
  return true;
}

/** A server of answerMetrics(). Returns what ends it. @throws IO when the address can't be had */
export async function serveMetrics(
  listen: string,
  metrics: Metrics,
  isReady?: () => boolean,
): Promise<() => void> {
  const server = createServer((request, response) => {
    if (!answerMetrics(request, response, metrics, isReady)) response.writeHead(404).end();
  });
  server.requestTimeout = 10_000;
  await startListening(server, listen);
  return () => {
    server.closeAllConnections();
    server.close();
  };
}
