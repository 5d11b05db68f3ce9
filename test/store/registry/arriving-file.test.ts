import { createHash } from 'node:crypto';
import { fstatSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { causeOf } from '../../../src/convert/arriving-layer';
import { withLayerImage } from '../../../src/convert/checked-image';
import type { LayerCall } from '../../../src/convert/run';
import { failure } from '../../../src/errors';
import { openTemporary } from '../../../src/fs/temporary';
import { writeFully } from '../../../src/fs/write-fully';
import { digestOfFile } from '../../../src/layer/content-digest';
import { openLayerImage, openPlainLayer } from '../../../src/layer/layer-image';
import { nativeSourceOf } from '../../../src/layer/native-byte-source';
import { ArrivingFile } from '../../../src/store/registry/arriving-file';
import { makeTar } from '../../e2e/sample';

const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i) % 251));
const sha256 = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** A file whose bytes come when the test says so. */
class Sender {
  file!: ArrivingFile;
  private onArrived!: (size: number) => void;
  private end!: { resolve: () => void; reject: (error: unknown) => void };
  private fd = -1;
  private sent = 0;

  constructor(private readonly bytes: Buffer) {}

  async open(): Promise<ArrivingFile> {
    const temporary = await openTemporary();
    this.fd = temporary.fd;
    this.file = new ArrivingFile(temporary, 'blob', this.bytes.length, (onArrived, signal) => {
      this.onArrived = onArrived;
      return new Promise<void>((resolve, reject) => {
        this.end = { resolve, reject };
        signal.addEventListener('abort', () => {
          reject(failure('CANCELLED', 'blob', 'cancelled'));
        });
      });
    });
    return this.file;
  }

  /** All up to `end`. */
  async send(end: number): Promise<void> {
    await writeFully(this.fd, this.bytes.subarray(this.sent, end), this.sent);
    this.sent = end;
    this.onArrived(end);
    if (end === this.bytes.length) this.end.resolve();
  }

  fail(why: string): void {
    this.end.reject(failure('IO', 'blob', why));
  }
}

let files: ArrivingFile[] = [];
afterEach(async () => {
  await Promise.all(files.map((file) => file.close()));
  files = [];
});

/** All of it. */
async function sent(bytes: Buffer): Promise<Sender> {
  const sender = await arriving(bytes);
  await sender.send(bytes.length);
  return sender;
}

async function arriving(bytes: Buffer): Promise<Sender> {
  const sender = new Sender(bytes);
  files.push(await sender.open());
  return sender;
}

describe('a blob that is still arriving', () => {
  test('is read as far as it is there, and waited for beyond', async () => {
    const sender = await arriving(content);
    await sender.send(1000);
    const source = nativeSourceOf(sender.file);
    expect(await source.read(0, 1000)).toEqual(content.subarray(0, 1000));
    expect(await sender.file.read(990, 10)).toEqual(content.subarray(990, 1000));
    const [natively, byFile] = [source.read(500, 1000), sender.file.read(999, 2)];
    await sender.send(1500);
    expect(await natively).toEqual(content.subarray(500, 1500));
    expect(await byFile).toEqual(content.subarray(999, 1001));
    source.close();
  });

  test('is hashed and inflated while it comes', async () => {
    const packed = gzipSync(content);
    const sender = await arriving(packed);
    const [opening, hashing] = [openPlainLayer(sender.file, {}), digestOfFile(sender.file, {})];
    for (const end of [1, 20, packed.length - 1, packed.length]) await sender.send(end);
    const layer = await opening;
    expect(await layer.content.read(0, content.length)).toEqual(content);
    expect([layer.sourceDigest, layer.contentDigest]).toEqual([sha256(packed), sha256(content)]);
    expect(await hashing).toBe(sha256(packed));
    layer.close();
  });

  test('is planned while it comes when it is a plain tar: nothing of it waits in another file', async () => {
    const tar = await makeTar([
      { name: 'first', content: content.subarray(0, 5000) },
      { name: 'second', content },
    ]);
    const sender = await arriving(tar);
    const [opening, hashing] = [openLayerImage(sender.file, {}), digestOfFile(sender.file, {})];
    for (const end of [513, 6000, 7000, tar.length - 1, tar.length]) await sender.send(end);
    const layer = await opening;
    expect(layer.sourceDigest).toBe(null); // who uses it hashes it beside that
    expect(await hashing).toBe(sha256(tar));
    const whole = await arriving(tar);
    await whole.send(tar.length);
    const other = await openLayerImage(whole.file, {});
    const [planned, expected] = [layer.image, other.image].map((image) => image.read(0, image.size));
    expect((await planned!).equals(await expected!)).toBe(true);
    layer.close();
    other.close();
  });

  test('of which no more comes fails its readers, with the reason', async () => {
    const sender = await arriving(gzipSync(content));
    await sender.send(10);
    const opening = openPlainLayer(sender.file, {});
    const why = sender.file.arrival.catch(() => undefined);
    sender.fail('the registry has gone');
    await why;
    const fault: unknown = await opening.catch((error: unknown) => error);
    expect(fault).toMatchObject({ code: 'CANCELLED' });
    const descriptor = { mediaType: '', digest: sha256(content), size: content.length };
    expect(await causeOf(fault, sender.file, descriptor, {})).toMatchObject({
      code: 'IO',
      why: 'the registry has gone',
    });
  });

  test('that is closed lets go of those who wait', async () => {
    const sender = await arriving(content);
    await sender.send(10);
    const source = nativeSourceOf(sender.file);
    const reading = source.read(0, 100);
    await sender.file.close();
    await expect(reading).rejects.toMatchObject({ code: 'CANCELLED' });
    files = [];
  });

  test('with odd bytes is waited for: they may not be those of its descriptor', async () => {
    const sender = await arriving(content);
    const fault = failure('CORRUPT', 'gzip', 'odd');
    const finding = causeOf(
      fault,
      sender.file,
      { mediaType: '', digest: sha256(content), size: content.length },
      {},
    );
    await sender.send(content.length);
    expect(await finding).toBe(fault);
    const other = { mediaType: '', digest: sha256(Buffer.alloc(1)), size: content.length };
    expect(await causeOf(fault, sender.file, other, {})).toMatchObject({ code: 'MISMATCH' });
  });

  test('that was inflated takes no room any more while its image is used', async () => {
    const tar = await makeTar([{ name: 'file', content }]);
    const bytes = gzipSync(tar);
    const { file } = await sent(bytes);
    const layer = {
      descriptor: { mediaType: '', digest: sha256(bytes), size: bytes.length },
      diffId: sha256(tar),
    };
    await withLayerImage(file, { layer, options: {} } as LayerCall, async ({ image }, check) => {
      expect(fstatSync(file.fd).size).toBe(0);
      expect((await image.read(0, image.size)).includes(content.subarray(0, 4096))).toBe(true);
      await check();
      const later = failure('CORRUPT', 'image', 'odd');
      expect(await causeOf(later, file, layer.descriptor, {})).toBe(later);
    });
  });

  test('with other bytes than its descriptor says is not used', async () => {
    const tar = await makeTar([{ name: 'file', content }]);
    const bytes = gzipSync(tar);
    const { file } = await sent(bytes);
    const digest = sha256(Buffer.alloc(1));
    const layer = { descriptor: { mediaType: '', digest, size: bytes.length }, diffId: sha256(tar) };
    const use = () => Promise.reject(new Error('its image was used'));
    const converting = withLayerImage(file, { layer, options: {} } as LayerCall, use);
    await expect(converting).rejects.toMatchObject({ code: 'MISMATCH' });
  });
});
