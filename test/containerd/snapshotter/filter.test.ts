import { expect, test } from 'vitest';
import { parseFilters } from '../../../src/containerd/snapshotter/filter';

const snapshot: Record<string, string> = {
  name: 'sha256:1',
  parent: 'a/"b"',
  'labels.containerd.io/snapshot.ref': 'sha256:1',
  'labels.empty': '',
};
const lookup = (path: readonly string[]): string | undefined => snapshot[path.join('.')];
const matches = (...filters: string[]): boolean => parseFilters(filters)(lookup);

test('what containerd asks after a layer that is there already', () => {
  expect(matches(String.raw`labels."containerd.io/snapshot.ref"==sha256:1,parent=="a/\"b\""`)).toBe(true);
  expect(matches('labels."containerd.io/snapshot.ref"==sha256:1,parent==""')).toBe(false);
  expect(matches('labels."containerd.io/snapshot.ref"==sha256:2,parent=="a"')).toBe(false);
});

test('any filter is enough, and without one all match', () => {
  expect(matches()).toBe(true);
  expect(matches('name==other', 'name~=^sha256')).toBe(true);
  expect(matches('name!=sha256:1', 'labels.none')).toBe(false);
  expect(matches('labels.empty')).toBe(true);
});

test.each(['==x', 'name=', 'name~=(', 'a b', 'name==x,,'])('%s is no filter', (text) => {
  expect(() => matches(text)).toThrow(/is no (filter|pattern)/);
});
