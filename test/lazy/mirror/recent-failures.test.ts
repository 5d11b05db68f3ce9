import { expect, test } from 'vitest';
import { RecentFailures } from '../../../src/lazy/mirror/recent-failures';

test('a failure is remembered for a moment, and then forgotten', () => {
  let now = 0;
  const failures = new RecentFailures(() => now);
  const error = new Error('away');
  failures.set('image', error);
  expect([failures.get('image'), failures.get('other')]).toEqual([error, undefined]);
  now = 4999;
  expect(failures.get('image')).toBe(error);
  now = 5000;
  expect(failures.get('image')).toBeUndefined();
});
