import { writeErofs, type ErofsEntry } from '../erofs-writer';
import { tarBytes } from '../tar-bytes';
import { embedded, erofsZstd, gzip, gzipped, octets, raw, sha256, standalone, tar, zstdOnly, type Annotations, type VectorLayer } from './layers';
import { bad, data, device, file, good, lower, text, top, topImage } from './vector';

/** Vectors of images whose file data is in layers of its own. */

export const block = (letter: string): string => letter.repeat(4096);
/** Two files, and one of both, whose data is on a device of two blocks. */
const onDevice: ErofsEntry[] = [
  { path: 'a', blocks: [{ device: 1, block: 0 }], size: 4096 },
  {
    path: 'both',
    blocks: [
      { device: 1, block: 1 },
      { device: 1, block: 0 },
    ],
    size: 8000,
  },
];
const seenOnDevice: ErofsEntry[] = [
  file('a', block('a')),
  file('both', (block('b') + block('a')).slice(0, 8000)),
];
export const blocks = Buffer.from(block('a') + block('b'));
export const deviceImage = writeErofs(onDevice, { devices: [{ tag: sha256(blocks).slice(7), blocks: 2 }] });

export function addDevices(): void {
  const consumer = raw(deviceImage);
  const one = (name: string, about: string, layers: VectorLayer[]): void => {
    good(name, '2.4, 3.8', about, layers, seenOnDevice);
  };
  one('device-octets', 'application/octet-stream', [raw(blocks, device, octets), consumer]);
  one('device-custom-type', 'a media type that nobody knows', [
    raw(blocks, device, 'model/weights'),
    consumer,
  ]);
  one('device-custom-zstd', 'a media type that nobody knows, +zstd', [
    zstdOnly(blocks, 'model/weights+zstd', device),
    consumer,
  ]);
  one('device-gzip', '+gzip', [gzipped(blocks, `${tar}+gzip`, device), consumer]);
  one('device-zstd', '+zstd, no index', [zstdOnly(blocks, `${tar}+zstd`, device), consumer]);
  one('device-zstd-index', '+zstd, an index between the device and its consumer', [
    ...standalone(blocks, `${tar}+zstd`, device, { borders: [100] }),
    consumer,
  ]);
  one('device-raw-index', 'an index of an uncompressed device', [
    ...standalone(blocks, octets, device),
    consumer,
  ]);
  one('device-erofs-zstd', 'a device of media type application/vnd.erofs+zstd', [
    embedded(blocks, true, device),
    consumer,
  ]);
  const odd = Buffer.from(`${block('a')}bbbb`);
  good(
    'device-odd-length',
    '2.4',
    'a device that does not end with a block',
    [
      raw(odd, device, octets),
      raw(
        writeErofs([{ path: 'tail', blocks: [{ device: 1, block: 1 }], size: 4 }], {
          devices: [{ blocks: 2 }],
        }),
      ),
    ],
    [file('tail', 'bbbb')],
  );
  const archive = tarBytes([
    { name: 'one', content: 'of a tar\n' },
    { name: 'two', content: 'x'.repeat(700) },
  ]);
  good(
    'device-tar',
    '2.4',
    'a tar whose files are described in blocks of 512 bytes',
    [
      raw(archive, device, tar),
      raw(
        writeErofs(
          [
            { path: 'one', blocks: [{ device: 1, block: 1 }], size: 9 },
            {
              path: 'two',
              blocks: [
                { device: 1, block: 3 },
                { device: 1, block: 4 },
              ],
              size: 700,
            },
          ],
          { blockSize: 512, devices: [{ blocks: archive.length / 512 }] },
        ),
      ),
    ],
    [file('one', 'of a tar\n'), file('two', 'x'.repeat(700))],
  );
  addFramedTars();
  const packed = gzip(Buffer.from('not decompressed'));
  good(
    'device-gzip-bytes',
    '2.4',
    'a device without a suffix whose bytes happen to be gzip: they stay as they are',
    [
      raw(packed, device, octets),
      raw(
        writeErofs([{ path: 'x.gz', blocks: [{ device: 1, block: 0 }], size: packed.length }], {
          devices: [{ blocks: 1 }],
        }),
      ),
    ],
    [{ path: 'x.gz', content: packed }],
  );
  addSeveralDevices();
}

/** Two tars in frames, each with a lone index and an image that has its tag, as of layers that were tar.gz. */
function addFramedTars(): void {
  const layerOf = (name: string, content: string, role: Annotations): VectorLayer[] => {
    const archive = tarBytes([
      { name: `${name}-small`, content: 'of a tar\n' },
      { name, content },
    ]);
    const [framed, index] = standalone(archive, `${tar}+zstd`, device, { borders: [700, 2048] });
    const blocks = Array.from({ length: Math.ceil(content.length / 512) }, (_, i) => ({
      device: 1,
      block: 3 + i,
    }));
    const files: ErofsEntry[] = [
      { path: `${name}-small`, blocks: [{ device: 1, block: 1 }], size: 9 },
      { path: name, blocks, size: content.length },
    ];
    const devices = [{ tag: sha256(framed.blob).slice(7), blocks: archive.length / 512 }];
    return [framed, index, embedded(writeErofs(files, { blockSize: 512, devices }), true, role)];
  };
  good(
    'device-tar-zstd-index',
    '2.4, 3.4',
    'two tars in frames with lone indexes, each described in blocks of 512 bytes',
    [...layerOf('one', 'x'.repeat(9000), lower), ...layerOf('two', 'y'.repeat(700), {})],
    [
      file('one', 'x'.repeat(9000)),
      file('one-small', 'of a tar\n'),
      file('two', 'y'.repeat(700)),
      file('two-small', 'of a tar\n'),
    ],
  );
}

function addSeveralDevices(): void {
  const other = Buffer.from(block('c'));
  const two = writeErofs(
    [
      {
        path: 'ac',
        blocks: [
          { device: 1, block: 0 },
          { device: 2, block: 0 },
        ],
        size: 8192,
      },
    ],
    { devices: [{ blocks: 2 }, { blocks: 1 }] },
  );
  const seen = [file('ac', block('a') + block('c'))];
  good(
    'device-several',
    '3.8',
    'two devices of one image, in the order of the layers',
    [raw(blocks, device, octets), gzipped(other, 'x/y+gzip', device), raw(two)],
    seen,
  );
  const decoy = writeErofs([file('not', 'mounted\n')]);
  const useErofs = writeErofs([{ path: 'a', blocks: [{ device: 1, block: 0 }], size: 4096 }], {
    devices: [{ blocks: 2 }, { blocks: decoy.length / 4096 }],
  });
  good(
    'device-erofs',
    '11.4',
    'an image of EROFS that is a device: it is no consumer, and nothing of its tree shows',
    [raw(blocks, device, octets), raw(decoy, device), raw(useErofs)],
    [file('a', block('a'))],
  );
  good(
    'device-twice',
    '3.8',
    'one device for two images: its descriptor comes twice',
    [
      raw(blocks, device, octets),
      raw(deviceImage, lower),
      raw(blocks, device, octets),
      raw(
        writeErofs([{ path: 'b', blocks: [{ device: 1, block: 1 }], size: 4096 }], {
          devices: [{ blocks: 2 }],
        }),
      ),
    ],
    [...seenOnDevice, file('b', block('b'))],
  );
  good(
    'device-of-lower',
    '11.4',
    'a device of the lowest of two layers',
    [raw(blocks, device, octets), raw(deviceImage, lower), raw(topImage)],
    [...seenOnDevice, ...top],
  );
}

const metadata = (path: string, to: string, size: number, more: Partial<ErofsEntry> = {}): ErofsEntry => ({
  path,
  size,
  ...more,
  xattrs: { 'trusted.overlay.metacopy': '', 'trusted.overlay.redirect': to, ...more.xattrs },
});

export function addData(): void {
  const needs = { needs: 'data-only' } as const;
  const store = writeErofs([file('objects/1', text), file('objects/2', 'two\n')]);
  const meta = writeErofs([
    metadata('bin/large', '/objects/1', text.length, { mode: 0o755, uid: 5, xattrs: { 'user.k': 'v' } }),
    metadata('small', '/objects/2', 4),
    metadata('again', '/objects/2', 4, { mode: 0o600 }),
    file('own', 'data\n'),
  ]);
  const seen: ErofsEntry[] = [
    file('bin/large', text, { mode: 0o755, uid: 5, xattrs: { 'user.k': 'v' } }),
    file('small', 'two\n'),
    file('again', 'two\n', { mode: 0o600 }),
    file('own', 'data\n'),
  ];
  good('data', '2.4', 'file data in a data-only layer', [raw(store, data), raw(meta)], seen, needs);
  good(
    'data-index',
    '11.3',
    'its index is a layer of its own',
    [...standalone(store, erofsZstd, data), embedded(meta, true)],
    seen,
    needs,
  );
  const firstStore = writeErofs([file('objects/1', text)]);
  const secondStore = writeErofs([file('objects/2', 'two\n')]);
  good(
    'data-several',
    '3.8',
    'two data-only layers of one image',
    [raw(firstStore, data), raw(secondStore, data), raw(meta)],
    seen,
    needs,
  );
  good(
    'data-of-lower',
    '3.8',
    'a data-only layer of the lowest of two',
    [raw(store, data), raw(meta, lower), raw(writeErofs([...top, { path: 'small', type: 'char', mode: 0 }]))],
    [...seen.filter(({ path }) => path !== 'small'), ...top],
    needs,
  );
  good(
    'data-above',
    '3.8',
    'a data-only layer between two others',
    [raw(topImage, lower), raw(store, data), raw(meta)],
    [...seen, ...top],
    needs,
  );
  const far = writeErofs([{ path: 'objects/1', blocks: [{ device: 1, block: 1 }], size: 4096 }], {
    devices: [{ blocks: 2 }],
  });
  good(
    'data-on-device',
    '7',
    'a data-only layer whose own data is on a device',
    [raw(blocks, device, octets), raw(far, data), raw(writeErofs([metadata('b', '/objects/1', 4096)]))],
    [file('b', block('b'))],
    needs,
  );
  bad(
    'data-missing',
    '2.4',
    'a file whose data is in no layer',
    'data-redirect',
    [raw(firstStore, data), raw(meta)],
    needs,
  );
}

