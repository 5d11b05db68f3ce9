import { expect, test } from 'vitest';
import { jsonText, valueText } from '../../src/cli/json-text';
import { parseJson } from '../../src/format/json';

const text = '{"a":12345678901234567890,"b":[1.0,null,"x",{"c":1e3}],"d":2}';

test('numbers of manifests and configs are printed as they were written', async () => {
  const value = parseJson(Buffer.from(text), 'test');
  expect(valueText(value)).toBe(text);
  async function* items(): AsyncGenerator {
    yield* await Promise.resolve([value]);
  }
  let printed = '';
  for await (const piece of jsonText({ whole: value, items: items() })) printed += piece;
  expect(printed).toBe(`{"whole":${text},"items":[${text}]}`);
});

test('what is undefined is left out of objects, and null in arrays', () => {
  const [number] = parseJson(Buffer.from('[1.0]'), 'test') as unknown[];
  expect(valueText({ a: undefined, b: [undefined, number] })).toBe('{"b":[null,1.0]}');
});
