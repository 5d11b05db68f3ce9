import { expect, test } from 'vitest';
import { DecodeBudget } from '../../src/lazy/decode-budget';

const kibibyte = 1024;

test('only so many bytes are decoded at once, in the order of asking; more than all go alone', async () => {
  const budget = new DecodeBudget(1024 * kibibyte);
  let held = 0;
  let most = 0;
  const order: number[] = [];
  const sizes = [400, 400, 400, 4000, 1, 1024, 200].map((size) => size * kibibyte);
  await Promise.all(
    sizes.map((size, i) =>
      budget.run(size, async () => {
        order.push(i);
        held += size;
        most = Math.max(most, size > 1024 * kibibyte ? held - size + 1024 * kibibyte : held);
        await new Promise((resolve) => setImmediate(resolve));
        held -= size;
      }),
    ),
  );
  expect(order).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(most).toBe(1024 * kibibyte);
  // What fails gives back what it held.
  await expect(budget.run(1024 * kibibyte, () => Promise.reject(new Error('wrong')))).rejects.toThrow(
    'wrong',
  );
  await budget.run(1024 * kibibyte, () => Promise.resolve());
});
