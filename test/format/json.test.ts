import { describe, expect, test } from 'vitest';
import {
  jsonText,
  JsonNumber,
  maxDocumentSize,
  maxJsonDepth,
  parseJson,
  serializeJson,
} from '../../src/format/json';
import { caught } from '../support/caught';

const parsed = (text: string): unknown => parseJson(Buffer.from(text), 'x');
const codeOf = async (text: string): Promise<string> => (await caught(() => parsed(text))).code;

describe('a document', () => {
  test.each([
    '{"a":12345678901234567890,"b":-0,"c":1.0,"d":1e400,"e":1E3,"f":0.1000000000000000055511151231257827}',
    '{"z":[1,2.5,-3e-7,true,null,"\\u0000 \\" \\\\"],"__proto__":{"x":1},"constructor":2,"toJSON":3}',
    '[{"isLosslessNumber":true,"value":"1"},{"text":"9"},[],{}]',
  ])('comes out as it went in: %s', (text) => {
    expect(serializeJson(parsed(text) as object, 'x').toString()).toBe(text);
  });

  test('has plain numbers where those are exact', () => {
    expect(parsed('[0,-1,1.5,9007199254740991,1e+21]')).toEqual([0, -1, 1.5, 9007199254740991, 1e21]);
    expect(parsed('[9007199254740993]')).toEqual([new JsonNumber('9007199254740993')]);
    expect(JSON.stringify(parsed('[9007199254740993]'))).toBe('[9007199254740992]');
  });

  test('means what it means to JSON.parse()', async () => {
    for (const text of ['{"a":1,"a":2}', ' [ "\\ud83d\\ude00" , "é" ]\n', '"\\u2028"', '-1']) {
      expect(parsed(text)).toEqual(JSON.parse(text));
    }
    for (const text of [
      '',
      '{',
      '[1,]',
      '{"a":1,}',
      '01',
      '1.',
      '.5',
      '+1',
      'nul',
      '"\n"',
      '"\\x"',
      '1 2',
      'NaN',
    ]) {
      expect(await codeOf(text), text).toBe('CORRUPT');
    }
    const { code } = await caught(() => parseJson(Buffer.from([0x22, 0xff, 0x22]), 'x'));
    expect(code).toBe('CORRUPT');
  });
});

describe('before it is parsed', () => {
  test('a document of more than 4 MiB is refused, and one of so much is not', async () => {
    const text = (size: number): string => `["${'x'.repeat(size - 4)}"]`;
    expect(parsed(text(maxDocumentSize))).toHaveLength(1);
    expect(await codeOf(text(maxDocumentSize + 1))).toBe('UNSUPPORTED');
    expect(parseJson(Buffer.from(text(maxDocumentSize + 1)), 'x', maxDocumentSize + 1)).toHaveLength(1);
    const { code } = await caught(() => serializeJson(['x'.repeat(maxDocumentSize)], 'x'));
    expect(code).toBe('UNSUPPORTED');
    expect(jsonText(['x'.repeat(maxDocumentSize)])).toHaveLength(maxDocumentSize + 4);
  });

  test('nesting deeper than 64 is refused, whether it is JSON or not', async () => {
    const nested = (depth: number): string => '[{"a":'.repeat(depth / 2) + '1' + '}]'.repeat(depth / 2);
    expect(parsed(nested(maxJsonDepth))).toHaveLength(1);
    expect(await codeOf(nested(maxJsonDepth + 2))).toBe('UNSUPPORTED');
    expect(await codeOf('['.repeat(1 << 20))).toBe('UNSUPPORTED');
    expect(parsed(`["${'['.repeat(1000)}\\"${'{'.repeat(1000)}"]`)).toHaveLength(1);
    expect(parsed(`[${Array(1000).fill('[]').join()}]`)).toHaveLength(1000);
  });
});
