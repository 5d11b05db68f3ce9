import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { openBlob } from '../../src/layer/open-blob';
import { caught } from '../support/caught';
import { RangeServer } from '../support/range-server';
import { refusal } from '../support/refusal';
import { goldenBlob } from '../support/sealed-blob';

const mib = goldenBlob('mib.c65536.v4096');
const { entries, chunk_size: chunkSize } = mib.inspect;

/** As text, the bytes of the frames from `first` to `last`. */
function frames(first: number, last = first): string {
  return `${entries[first]!.offset}-${entries[last]!.end - 1}`;
}

describe('over HTTP', () => {
  let server: RangeServer;
  beforeEach(async () => {
    server = await RangeServer.start(mib.blob);
  });
  afterEach(async () => {
    await server.stop();
  });

  it('transfers the table and the frames needed, and no more', async () => {
    const blob = await openBlob(server.url, { descriptor: mib.descriptor });
    const table = mib.inspect.table_offset;
    expect(server.takeRanges()).toEqual(['0-0', `${table}-${Math.min(table + 32_768, mib.blob.length) - 1}`]);
    const bytes = await blob.read(6 * chunkSize + 5, 2 * chunkSize);
    expect(bytes.equals(mib.image.subarray(6 * chunkSize + 5, 8 * chunkSize + 5))).toBe(true);
    expect(server.takeRanges()).toEqual([frames(6, 8)]);
    await blob.close();
  });

  it('gets over a busy server and a cut connection', async () => {
    server.misbehave = (_, response, count) => {
      if (count % 2 === 1) return false;
      if (count === 0) response.writeHead(429, { 'retry-after': '0' }).end();
      else response.destroy();
      return true;
    };
    const blob = await openBlob(server.url, { descriptor: mib.descriptor });
    expect((await blob.read(0, blob.size)).equals(mib.image)).toBe(true);
    await blob.close();
  });

  it('does not get over wrong bytes', async () => {
    const blob = await openBlob(server.url, { descriptor: mib.descriptor });
    server.bytes = Buffer.from(mib.blob);
    server.bytes[entries[3]!.offset + 40]! ^= 1;
    await expect(blob.read(3 * chunkSize, 10)).rejects.toThrow(
      refusal('MISMATCH', `${server.url}: frame 3 at byte`),
    );
    expect(server.takeRanges().filter((range) => range === frames(3))).toHaveLength(1);
    await blob.close();
  });

  it('says what a server lacks or has done', async () => {
    const blob = await openBlob(server.url, { descriptor: mib.descriptor });
    server.etag = '"two"';
    await expect(blob.read(0, 10)).rejects.toThrow(refusal('MISMATCH', 'the object has changed'));
    server.misbehave = (_, response) => {
      server.sendAll(response);
      return true;
    };
    await expect(openBlob(server.url, { descriptor: mib.descriptor })).rejects.toThrow(
      refusal('UNSUPPORTED', 'where a part was asked for'),
    );
    server.bytes = mib.blob.subarray(1);
    await expect(openBlob(server.url, { descriptor: mib.descriptor })).rejects.toThrow(
      refusal('MISMATCH', 'its descriptor says'),
    );
    await blob.close();
  });

  it('stops for a signal while it opens', async () => {
    server.misbehave = (_, __, count) => count > 0;
    const controller = new AbortController();
    const opening = caught(() =>
      openBlob(server.url, { descriptor: mib.descriptor, signal: controller.signal }),
    );
    await vi.waitFor(() => {
      expect(server.requests).toHaveLength(2);
    });
    controller.abort();
    expect((await opening).code).toBe('CANCELLED');
  });
});
