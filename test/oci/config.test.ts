import { describe, expect, it } from 'vitest';
import { checkLayerCount, configPlatform, parseImageConfig } from '../../src/oci/config';
import { caught } from '../support/caught';
import { refusal } from '../support/refusal';
import { config, digest, json, manifest } from './samples';

describe('parseImageConfig', () => {
  it('keeps the order and the unknown members', () => {
    const text = JSON.stringify({ ...config(2), moby: { a: 1 }, created: '2024-01-01T00:00:00Z' });
    expect(JSON.stringify(parseImageConfig(Buffer.from(text), 'c'))).toBe(text);
  });
  it('takes null for what is optional, and for no layers', () => {
    const parsed = parseImageConfig(
      json({ ...config(0), history: null, config: null, rootfs: { type: 'layers', diff_ids: null } }),
      'c',
    );
    expect(parsed.rootfs?.diff_ids).toEqual([]);
    expect('history' in parsed).toBe(false);
  });

  it.each<[string, object]>([
    ['no os', { os: undefined }],
    ['a number as architecture', { architecture: 64 }],
    ['another rootfs type', { rootfs: { type: 'x', diff_ids: [] } }],
    ['a diff_id with a path', { rootfs: { type: 'layers', diff_ids: ['sha256:../../x'] } }],
    ['a diff_id that is no string', { rootfs: { type: 'layers', diff_ids: [[digest]] } }],
    ['history that is no array', { history: {} }],
    ['history of text', { history: ['x'] }],
    ['empty_layer as text', { history: [{ empty_layer: 'false' }] }],
    ['os.features as text', { 'os.features': 'erofs' }],
    ['config as text', { config: 'x' }],
  ])('refuses %s', async (_, members) => {
    expect((await caught(() => parseImageConfig(json({ ...config(1), ...members }), 'c'))).code).toBe(
      'CORRUPT',
    );
  });

  it.each([
    ['layers', 10_000, (count: number) => ({ ...config(0), rootfs: config(count).rootfs })],
    ['history entries', 100_000, (count: number) => ({ ...config(0), history: new Array(count).fill({}) })],
  ])('has a limit of %s: %i', (_, limit, make) => {
    expect(() => parseImageConfig(json(make(limit)), 'c')).not.toThrow();
    expect(() => parseImageConfig(json(make(limit + 1)), 'c')).toThrow(refusal('UNSUPPORTED'));
  });

  it.each([
    ['rootfs', { rootfs: undefined }],
    ['diff_ids', { rootfs: { type: 'layers' } }],
  ])('may lack %s, but not of tars', async (_, members) => {
    const parsed = parseImageConfig(json({ ...config(1), ...members }), 'c');
    const error = await caught(() => {
      checkLayerCount(manifest(1), parsed, 'x');
    });
    expect(error.code).toBe('CORRUPT');
    const layers = manifest(1).layers.map((layer) => ({ ...layer, mediaType: 'application/vnd.erofs' }));
    checkLayerCount({ ...manifest(1), layers }, parsed, 'x');
  });

  it('must have one DiffID for each layer', async () => {
    expect(() => {
      checkLayerCount(manifest(2), config(2), 'x');
    }).not.toThrow();
    expect(
      (
        await caught(() => {
          checkLayerCount(manifest(2), config(1), 'x');
        })
      ).code,
    ).toBe('CORRUPT');
  });

  it('has a platform', () => {
    expect(configPlatform({ ...config(1), variant: 'v2', 'os.features': ['x'] })).toEqual({
      architecture: 'amd64',
      os: 'linux',
      variant: 'v2',
      'os.features': ['x'],
    });
    expect(configPlatform({ ...config(1), variant: '', 'os.features': [] })).toEqual({
      architecture: 'amd64',
      os: 'linux',
    });
  });
});
