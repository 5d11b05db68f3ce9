import { failure } from '../../errors';
import { networkError, type HttpResponse } from '../../source/http-client';

/** The body of an answer, whole. UNSUPPORTED when it is longer than `limit`, of which at most one piece more is read. */
export async function readUpTo(
  response: HttpResponse,
  limit: number,
  what: string,
  signal?: AbortSignal,
): Promise<Buffer> {
  const tooLong = (size: string) =>
    failure('UNSUPPORTED', what, `${size} bytes where at most ${limit} make sense`);
  const announced = Number(response.header('content-length') ?? 0);
  if (announced > limit) {
    await response.discard();
    throw tooLong(String(announced));
  }
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of response.body) {
      pieces.push(piece);
      size += piece.length;
      if (size > limit) throw tooLong(`more than ${limit}`);
    }
  } catch (error) {
    throw networkError(what, error, signal);
  }
  return Buffer.concat(pieces);
}

/** The beginning of a body that nobody counts on: empty when it can't be read. */
export async function readBeginning(response: HttpResponse, limit: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of response.body) {
      pieces.push(piece);
      size += piece.length;
      if (size >= limit) break;
    }
  } catch {
    // What came before is as good.
  } finally {
    await response.discard();
  }
  return Buffer.concat(pieces).subarray(0, limit);
}
