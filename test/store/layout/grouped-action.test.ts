import { expect, test } from 'vitest';
import { GroupedAction } from '../../../src/store/layout/grouped-action';

test('what is added while the action runs is the next group', async () => {
  const groups: string[][] = [];
  const grouped = new GroupedAction<string>(async (items) => {
    groups.push([...items]);
    await Promise.resolve();
    if (items.includes('a')) await Promise.all(['d', 'e'].map(later));
  });
  const added: Promise<void>[] = [];
  const later = async (item: string): Promise<void> => void added.push(grouped.add(item));
  await Promise.all(['a', 'b', 'c'].map((item) => grouped.add(item)));
  await Promise.all(added);
  await grouped.add('f');
  expect(groups).toEqual([['a'], ['b', 'c', 'd', 'e'], ['f']]);
});

test('of a group that fails, each is tried alone, and hears of its own error', async () => {
  const groups: string[][] = [];
  const grouped = new GroupedAction<string>(async (items) => {
    groups.push([...items]);
    await Promise.resolve();
    if (items.includes('bad')) throw new Error(`of ${items.join()}`);
  });
  const ends = await Promise.allSettled(['first', 'good', 'bad', 'too'].map((item) => grouped.add(item)));
  expect(ends.map((end) => (end.status === 'rejected' ? (end.reason as Error).message : ''))).toEqual([
    ...['', '', 'of bad', ''],
  ]);
  expect(groups).toEqual([['first'], ['good', 'bad', 'too'], ['good'], ['bad'], ['too']]);
});
