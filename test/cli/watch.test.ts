import { PassThrough } from 'node:stream';
import { afterEach, expect, test, vi } from 'vitest';
import { watch } from '../../src/cli/watch';

afterEach(() => {
  vi.unstubAllEnvs();
});

/** What watch() prints on a terminal or on none, of `pictures` one after the other. */
async function printed(json: boolean, isTTY: boolean, pictures: string[][]): Promise<string> {
  const stdout = Object.assign(new PassThrough(), { isTTY });
  const stop = new AbortController();
  let text = '';
  stdout.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  const left = [...pictures];
  const watching = watch({ stdout }, { json, signal: stop.signal }, () => {
    const lines = left.shift()!;
    if (left.length === 0) setImmediate(stop.abort.bind(stop));
    return Promise.resolve({ document: lines, text: lines });
  });
  await expect(watching).rejects.toMatchObject({ code: 'CANCELLED' });
  return text;
}

test('on a terminal each picture takes the place of the last', async () => {
  vi.stubEnv('TERM', 'xterm');
  expect(await printed(false, true, [['a', 'b'], ['c']])).toBe('a\nb\n\x1b[2A\x1b[Jc\n');
});

test('without a terminal, or with a dumb one, they stand below each other', async () => {
  expect(await printed(false, false, [['a'], ['b']])).toBe('a\n\nb\n\n');
  vi.stubEnv('TERM', 'dumb');
  expect(await printed(false, true, [['a']])).toBe('a\n\n');
});

test('as JSON there is one document a line', async () => {
  expect(await printed(true, true, [['a', 'b'], []])).toBe('["a","b"]\n[]\n');
});
