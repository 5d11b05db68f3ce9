import { expect, it } from 'vitest';
import type { CompressedContext } from '../../../src/erofs/compressed/context';
import { decompress } from '../../../src/erofs/compressed/decompress';

function stored(format: 'plain' | 'interlaced', bytes: number, size: number): Promise<Buffer> {
  const input = Buffer.from(Array.from({ length: bytes }, (_, i) => i % 251));
  const source = { kind: 'encoded', format, area: 'data', offset: 0, length: bytes, partial: false } as const;
  const context = { blockSize: 4096 } as CompressedContext;
  return decompress(context, { input, source, size, start: 0, name: 'extent' });
}

it.each(['plain', 'interlaced'] as const)('%s bytes must be all there', async (format) => {
  expect(await stored(format, 4096, 4000)).toHaveLength(4000);
  await expect(stored(format, 4096, 4097)).rejects.toMatchObject({
    code: 'CORRUPT',
    why: '4096 bytes are stored of 4097',
  });
});
