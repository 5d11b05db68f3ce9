import { expect, test } from 'vitest';
import { parseLayerRecord, recordOf, type LayerRecord } from '../../src/convert/layer-record';
import { descriptor, digest } from '../oci/samples';
import { refusal } from '../support/refusal';

const part = { descriptor: descriptor(), diffId: digest };
const throughJson = (layer: object): Record<string, unknown> =>
  JSON.parse(JSON.stringify(layer)) as Record<string, unknown>;

test.each<[string, Partial<LayerRecord>]>([
  ['a layer', {}],
  ['its lone index', { index: part }],
  ['a device that is the tar', { device: part }],
  ['a device with an index of its own', { index: part, device: { ...part, index: part } }],
])('%s is read as it was written', (_, more) => {
  const layer: LayerRecord = { ...part, index: null, uncompressedSize: 4096, ...more };
  const read = parseLayerRecord(throughJson(recordOf(layer)), 'record');
  const device = layer.device == null ? null : { index: null, ...layer.device };
  expect(read).toEqual({ ...layer, device, hides: undefined });
});

test.each([
  { device: { ...part, diffId: 'none' } },
  { device: { ...part, index: { ...part, diffId: 'none' } } },
  { device: { ...part, index: 'none' } },
])('%j is refused', (more) => {
  const record = throughJson({ ...part, index: null, uncompressedSize: 1, ...more });
  expect(() => parseLayerRecord(record, 'record')).toThrow(refusal('CORRUPT'));
});
