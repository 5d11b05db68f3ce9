import { expect, test, vi } from 'vitest';
import { readIndexOf } from '../../src/image/image-layers';
import type { SourceStore } from '../../src/oci/store';
import { refusal } from '../support/refusal';

test('a lone index of more than 1 GiB is refused before it is opened', async () => {
  const openBlob = vi.fn(() => Promise.reject(new Error('opened')));
  const store = { openBlob } as unknown as SourceStore;
  const entry = (size: number) => ({
    descriptor: { mediaType: 'any', digest: `sha256:${'0'.repeat(64)}`, size },
    diffId: `sha256:${'0'.repeat(64)}`,
  });
  const read = (size: number) => readIndexOf(store, { ...entry(1), index: entry(size) });
  await expect(read(2 ** 30)).rejects.toThrow('opened');
  await expect(read(2 ** 30 + 1)).rejects.toThrow(refusal('UNSUPPORTED', 'more than 1073741824'));
  expect(openBlob).toHaveBeenCalledTimes(1);
});
