import { Readable } from 'node:stream';
import type { HttpClient, HttpRequest, HttpResponse } from '../../source/http-client';
import type { RegistryTraffic } from './options';

/** Whose requests are counted, and by whom. */
export interface HostTraffic {
  host: string;
  traffic: RegistryTraffic;
}

/** Bytes that are asked for together: asking for each piece of a body would take longer than the body. */
const countedTogether = 256 << 10;

/** As `http.send()`, but the request, and the bytes of both bodies, wait until they may go. */
export async function sendCounted(
  watched: HostTraffic | undefined,
  http: HttpClient,
  url: URL,
  request: HttpRequest,
): Promise<HttpResponse> {
  if (watched === undefined) return http.send(url, request);
  const { host, traffic } = watched;
  const { body, signal } = request;
  await traffic.request(host, signal);
  const wait = (count: number): Promise<void> => traffic.bytes(host, count, signal);
  const response = await http.send(url, {
    ...request,
    ...(body !== undefined && { body: Readable.from(counted(piecesOf(body), wait), { objectMode: false }) }),
    ...(Buffer.isBuffer(body) && { headers: { 'content-length': String(body.length), ...request.headers } }),
  });
  return { ...response, body: counted(response.body, wait) };
}

async function* piecesOf(body: Buffer | Readable): AsyncGenerator<Buffer> {
  if (Buffer.isBuffer(body)) yield body;
  else yield* body as AsyncIterable<Buffer>;
}

/** The pieces of a body, when `wait` allows for as many bytes. */
async function* counted(
  body: AsyncIterable<Buffer>,
  wait: (count: number) => Promise<void>,
): AsyncGenerator<Buffer> {
  let count = 0;
  try {
    for await (const piece of body) {
      count += piece.length;
      if (count >= countedTogether) {
        await wait(count);
        count = 0;
      }
      yield piece;
    }
  } finally {
    if (count > 0) await wait(count).catch(() => undefined);
  }
}
