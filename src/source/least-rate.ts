/** Bytes a second: a server that sends, or takes, less holds who waits for it for ever, though it is never silent for long. Exported for its test. */
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
      if (received * 1000 < minRate * waited) throw tooSlow('sends', received, waited);
      [waited, received] = [0, 0];
    }
    yield piece;
    asked = performance.now();
  }
}

/** Small beside what the least rate makes of any time that counts. */
const pieceSize = 16 << 10;

/**
 * The pieces of a body that is sent, until a server has taken fewer than `minRate` bytes a second over `time` milliseconds; then `stop` is
 * called with the error, since a server that takes nothing asks for no further piece. The time that it takes to get the body does not count.
 */
export async function* takenAtLeastRate(
  body: AsyncIterable<Buffer> | Buffer,
  time: number,
  stop: (error: Error) => void,
): AsyncGenerator<Buffer> {
  let [waited, taken] = [0, 0];
  for await (const piece of inPieces(body)) {
    taken += piece.length; // how much of it is taken nobody knows
    let since = performance.now();
    const endWindow = (): void => {
      waited += performance.now() - since;
      if (taken * 1000 < minRate * waited) {
        stop(tooSlow('takes', taken, waited));
        return;
      }
      [waited, taken, since] = [0, 0, performance.now()];
      timer = setTimeout(endWindow, time);
    };
    let timer = setTimeout(endWindow, time - waited);
    try {
      yield piece;
    } finally {
      clearTimeout(timer);
    }
    waited += performance.now() - since;
  }
}

async function* inPieces(body: AsyncIterable<Buffer> | Buffer): AsyncGenerator<Buffer> {
  for await (const bytes of Buffer.isBuffer(body) ? [body] : body) {
    for (let start = 0; start < bytes.length; start += pieceSize)
      yield bytes.subarray(start, start + pieceSize);
  }
}

function tooSlow(does: 'sends' | 'takes', bytes: number, waited: number): Error {
  const seconds = Math.round(waited / 1000);
  const why = `the server ${does} ${bytes} bytes in ${seconds} s, less than ${minRate} a second`;
  return Object.assign(new Error(why), { code: 'UND_ERR_BODY_TIMEOUT' });
}
