/** Bytes a second: a server that sends less holds who waits for it for ever, though it is never silent for long. */
export const minRate = 1024;

/**
 * The pieces of a body, until fewer than `minRate` bytes a second have come over `time` milliseconds; then it fails as for a server that says
 * nothing at all. Only the time that is spent waiting for the body counts: who reads it may take as long as it likes.
 */
export async function* atLeastRate(body: AsyncIterable<Buffer>, time: number): AsyncGenerator<Buffer> {
  let waited = 0;
  let received = 0;
  let asked = performance.now();
  for await (const piece of body) {
    waited += performance.now() - asked;
    received += piece.length;
    if (waited >= time) {
      if (received * 1000 < minRate * waited) throw tooSlow(received, waited);
      [waited, received] = [0, 0];
    }
    yield piece;
    asked = performance.now();
  }
}

function tooSlow(received: number, waited: number): Error {
  const why = `the server sends ${received} bytes in ${Math.round(waited / 1000)} s, less than ${minRate} a second`;
  return Object.assign(new Error(why), { code: 'UND_ERR_BODY_TIMEOUT' });
}
