import { describe, expect, it } from 'vitest';
import { placeHistory } from '../../src/convert/placed-layers';
import { descriptor, digest } from '../oci/samples';

const entry = { descriptor: descriptor(), diffId: digest };
const layer = { ...entry, index: null };
const indexed = { ...entry, index: entry };
const step = (created_by: string) => ({ created_by });
const empty = { created_by: 'CMD', empty_layer: true };

describe('history', () => {
  it('gets an entry for each lone index, behind that of its layer', () => {
    const history = [step('one'), empty, step('two')];
    const placed = placeHistory(history, [layer, layer], [indexed, indexed]);
    const index = expect.objectContaining({ comment: 'chunk index of the layer before' }) as object;
    expect(placed).toEqual([step('one'), index, empty, step('two'), index]);
  });

  it('gets an entry for each device, before that of its layer', () => {
    const history = [step('one'), step('two')];
    const placed = placeHistory(history, [layer, layer], [layer, { ...indexed, device: entry }]);
    const comments = placed.map(({ comment }) => comment);
    const own = ['file data of the layer behind', undefined, 'chunk index of the layer before'];
    expect(comments).toEqual([undefined, ...own]);
  });

  it('gets an entry for the index of a device, between device and layer', () => {
    const placed = placeHistory([step('one')], [layer], [{ ...indexed, device: indexed }]);
    const comments = placed.map(({ comment }) => comment);
    const index = 'chunk index of the layer before';
    expect(comments).toEqual(['file data of the layer behind', index, undefined, index]);
  });

  it('loses the entries of indexes that are gone', () => {
    const history = [step('one'), step('index'), step('two'), step('index'), empty];
    const placed = placeHistory(history, [indexed, indexed], [layer, layer]);
    expect(placed).toEqual([step('one'), step('two'), empty]);
  });

  it.each([
    ['fewer', [step('one'), empty]],
    ['more', [step('one'), step('two'), step('three')]],
    ['no', []],
  ])('of %s entries than layers stays as it is', (_, history) => {
    expect(placeHistory(history, [layer, layer], [indexed, indexed])).toEqual(history);
    expect(placeHistory(history, [indexed, indexed], [layer, layer])).toEqual(history);
  });
});
