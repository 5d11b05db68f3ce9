import { describe, expect, it } from 'vitest';

import { parseDmveritySidecar, serializeDmveritySidecar } from '../../src/format/dmverity-sidecar';
import { goodBlobs } from '../support/golden';
import { refusal } from '../support/refusal';

const hex = 'ab'.repeat(32);

describe('.dmverity file', () => {
  it('is the same as containerd writes', () => {
    const texts = goodBlobs().flatMap(({ layer_dmverity_json: text }) => (text === undefined ? [] : [text]));
    expect(texts.length).toBeGreaterThan(10);
    for (const text of texts) expect(serializeDmveritySidecar(parseDmveritySidecar(text))).toBe(text);
  });

  it('tells the algorithm by the length', () => {
    expect(parseDmveritySidecar(`{"roothash":"${hex}","hashoffset":4096,"more":1}`)).toEqual({
      rootDigest: `sha256:${hex}`,
      hashOffset: 4096,
    });
  });

  it.each([
    ['no JSON', ''],
    ['no JSON', '{'],
    ['no JSON object', 'null'],
    ['no JSON object', '7'],
    ['roothash', '{}'],
    ['roothash', `{"roothash":["${hex}"],"hashoffset":1}`],
    ['roothash', `{"roothash":"sha256:${hex}","hashoffset":1}`],
    ['is no digest', `{"roothash":"${hex.toUpperCase()}","hashoffset":1}`],
    ['hashoffset', `{"roothash":"${hex}"}`],
    ['hashoffset', `{"roothash":"${hex}","hashoffset":"1"}`],
    ['hashoffset is -1', `{"roothash":"${hex}","hashoffset":-1}`],
    ['hashoffset is 1.5', `{"roothash":"${hex}","hashoffset":1.5}`],
    ['hashoffset', `{"roothash":"${hex}","hashoffset":9007199254740993}`],
  ])('refuses, because of %s: %s', (text, json) => {
    expect(() => parseDmveritySidecar(json, 'x.dmverity')).toThrow(refusal('CORRUPT', text));
  });
});
