// What must hold, and where it is found in the results. A bar has `value(results)`: a number, or null where it wasn't measured; and `ok`,
// the number that it has to be `least` or `most`.

const at = (results, claim, name) => results[claim]?.cases.find((item) => item.name === name) ?? null;
const ratio = (claim, name, other) => (results) => at(results, claim, name)?.ratios[other]?.ofMedians ?? null;
const efficiency = (claim, name) => (results) => at(results, claim, name)?.efficiency?.median ?? null;
const row = (item, key) => item?.contestants.find((contestant) => contestant.key === key) ?? null;
const allCores = (results, claim, prefix) =>
  results[claim]?.cases.filter(({ name }) => name.startsWith(prefix)).at(-1)?.name ?? '';
const milliseconds = (name) => (results) => {
  const p50 = row(at(results, 'reads', name), 'ours')?.metrics?.p50.median;
  return p50 === undefined ? null : p50 * 1e3;
};

/** How many times faster one contestant of a case is than another. */
const between = (claim, name, faster, slower) => (results) => {
  const [a, b] = [faster, slower].map((key) => row(at(results, claim, name), key)?.seconds?.median);
  return a && b ? b / a : null;
};

/** The part of another contestant's seconds that one takes. */
const share = (name, ours, other) => (results) => {
  const times = between('lazy', name, ours, other)(results);
  return times === null ? null : 1 / times;
};

/** The largest of several values; null when one wasn't measured. */
const worst = (values) => (results) => {
  const all = values.map((value) => value(results));
  return all.includes(null) ? null : Math.max(...all);
};

/** Wall time of ours beyond the CPU time of the unavoidable parts. */
const millisecondsAboveLimit = (claim, name) => (results) => {
  const found = at(results, claim, name);
  const seconds = row(found, 'ours')?.seconds?.median;
  const limit = found?.roofline?.cpuSeconds;
  return seconds === undefined || limit === undefined ? null : (seconds - limit) * 1e3;
};

/** The seconds of a conversion, against what is left of its parts when each hides behind another. */
const flowing = (name) => (results) => {
  const seconds = (key) => row(at(results, 'flow', name), key)?.seconds?.median;
  const parts = ['ours', 'download', 'inflate', 'encode', 'upload'].map(seconds);
  if (parts.includes(undefined)) return null;
  const [ours, download, inflate, encode, upload] = parts;
  return ours / (Math.max(download, inflate) + Math.max(encode, upload));
};

const IMAGES = ['python', 'node'];
const [FAST, SLOW] = ['10 ms, 100 MB/s', '50 ms, 20 MB/s'];
const coldStarts = (networks, other) =>
  worst(
    IMAGES.flatMap((image) =>
      networks.map((network) => share(`cold start, ${image}, ${network}`, 'ours', other)),
    ),
  );

/** The part that ours takes of the time of the best of others. */
const ofBest = (name, ours, others) => (results) => {
  const parts = others.map((other) => share(name, ours, other)(results)).filter((part) => part !== null);
  return parts.length === 0 ? null : Math.max(...parts);
};

/** The smallest of several values; null when one wasn't measured. */
const best = (values) => (results) => {
  const all = values.map((value) => value(results));
  return all.includes(null) ? null : Math.min(...all);
};

const DOORS = ['cacheDoor', 'snapshotterDoor'];
const RIVALS = ['overlayfs', 'erofs', 'stargz', 'soci'];
const everyStart = (networks, value) =>
  worst(IMAGES.flatMap((image) => networks.map((network) => value(`cold start, ${image}, ${network}`))));
const count = (name, key, what) => (results) =>
  row(at(results, 'lazy', name), key)?.counts?.[what]?.median ?? null;

export const BARS = [
  [
    'Merkle tree SHA-512',
    'one core, AVX-512, against go-dmverity',
    ratio('merkle', 'sha512, 1 core', 'go'),
    { least: 4.5, unit: '×' },
  ],
  [
    'Merkle tree SHA-512',
    'leaves, one core, AVX-512, against OpenSSL a block at a time',
    between('merkle', 'sha512, 1 core', 'leaves', 'openssl'),
    { least: 3, unit: '×' },
  ],
  [
    'Merkle tree SHA-512',
    'all cores (the bar: two) against go-dmverity',
    (results) => ratio('merkle', allCores(results, 'merkle', 'sha512'), 'go')(results),
    { least: 8, unit: '×' },
  ],
  [
    'Merkle tree SHA-512',
    'one core, AVX2, against go-dmverity',
    between('merkle', 'sha512, 1 core', 'avx2', 'go'),
    { least: 2, unit: '×' },
  ],
  ['encode, dm-verity', 'efficiency', efficiency('encode', 'with dm-verity'), { least: 0.88 }],
  [
    'encode, dm-verity',
    'against the Go pull request',
    ratio('encode', 'with dm-verity', 'go'),
    { least: 4, unit: '×' },
  ],
  ['convert a tar, dm-verity', 'efficiency', efficiency('convert', 'tar'), { least: 0.85 }],
  [
    'convert a tar, dm-verity',
    'against the Go pipeline',
    ratio('convert', 'tar', 'go'),
    { least: 5, unit: '×' },
  ],
  [
    'convert 6 tar.gz layers, dm-verity',
    'efficiency',
    efficiency('convert-gzip', '6 layers, gzip'),
    { least: 0.85 },
  ],
  [
    'convert 6 tar.gz layers, dm-verity',
    'against the Go pipeline',
    ratio('convert-gzip', '6 layers, gzip', 'go'),
    { least: 5, unit: '×' },
  ],
  [
    'convert a tar, no dm-verity',
    'against containerd 2.4.2',
    ratio('convert-peers', 'tar, no dm-verity', 'containerd'),
    { least: 7, unit: '×' },
  ],
  [
    'convert a tar, no dm-verity',
    'against nydus-image',
    ratio('convert-peers', 'tar, no dm-verity', 'nydus'),
    { least: 2, unit: '×' },
  ],
  [
    'convert a tar, no dm-verity',
    'against mksquashfs from a folder',
    ratio('convert-peers', 'tar, no dm-verity', 'mksquashfs'),
    { least: 1, unit: '×' },
  ],
  [
    'convert a tar, no dm-verity',
    'against mksquashfs from the tar',
    ratio('convert-peers', 'tar, no dm-verity', 'mksquashfsTar'),
    { least: 1, unit: '×' },
  ],
  ['decode, every check', 'efficiency', efficiency('decode', 'decode'), { least: 0.85 }],
  [
    'decode, every check',
    'against the Go decoder with the same checks',
    ratio('decode', 'decode', 'go'),
    { least: 3.5, unit: '×' },
  ],
  [
    'decode, every check, no dm-verity',
    'against the Go decoder with the same checks',
    ratio('decode', 'without a tree', 'go'),
    { least: 2.3, unit: '×' },
  ],
  [
    'peak RSS, largest layer of `growth` (the bar: 10 GiB)',
    '2 threads',
    (results) => results.growth?.derived?.largest.peakRssMiB?.max ?? null,
    { most: 128, unit: ' MiB' },
  ],
  [
    'blob size, no dm-verity',
    'against one `zstd -3` frame of the same image',
    (results) => {
      const blob = row(at(results, 'encode', 'plain'), 'ours')?.bytes;
      const single = row(at(results, 'frames', '1 core'), 'single')?.bytes;
      return blob &&
        single &&
        at(results, 'encode', 'plain').input.bytes === at(results, 'frames', '1 core').input.bytes
        ? blob / single
        : null;
    },
    { most: 1.01, unit: '×' },
  ],
  [
    'random 4 KiB read, file, p50',
    'chunk of 4 MiB, not cached',
    milliseconds('4 KiB, file, 4MiB chunks'),
    { most: 6, unit: ' ms' },
  ],
  [
    'random 4 KiB read, file, p50',
    'chunk of 64 KiB, not cached',
    milliseconds('4 KiB, file, 64KiB chunks'),
    { most: 0.3, unit: ' ms' },
  ],
  [
    'random 4 KiB read, file, p50',
    'chunk cached',
    milliseconds('4 KiB, cached, 4MiB chunks'),
    { most: 0.03, unit: ' ms' },
  ],
  [
    'a queue, 100 small images',
    'two workers of one thread: their speed against one worker of two threads',
    between('queue', '100 images', 'two', 'one'),
    { least: 0.9, unit: '×' },
  ],
  ['`batch` of 50 small images, dm-verity', 'efficiency', efficiency('batch', '50 images'), { least: 0.8 }],
  [
    '`convert` of one small image, dm-verity',
    'start included, more than the CPU seconds that can not be avoided',
    millisecondsAboveLimit('batch', 'one image'),
    { most: 150, unit: ' ms' },
  ],
  [
    '`extract` of a blob to tmpfs, every check',
    'part of the time of `tar -x` of the same tree',
    between('extract', 'extract to tmpfs', 'tar', 'oursBlob'),
    { most: 1.5, unit: '×' },
  ],
  [
    'program start',
    '`--version`, more than `node -e 0`',
    startMilliseconds('ours'),
    { most: 80, unit: ' ms' },
  ],
  ['program start', '`--help`, more than `node -e 0`', startMilliseconds('help'), { most: 80, unit: ' ms' }],
  [
    'growth',
    'a byte in the largest layer against one in the smallest',
    (results) => results.growth?.derived?.perByte.growth ?? null,
    { least: 0.9, most: 1.1, unit: '×' },
  ],
  [
    'growth',
    'an entry of the most against one of the fewest',
    (results) => results.growth?.derived?.perEntry.growth ?? null,
    { least: 0.9, most: 1.1, unit: '×' },
  ],
  [
    '`run --lazy` to the first output',
    'the worse image, 50 ms and 20 MB/s: part of the time of overlayfs from tar.gz by containerd',
    coldStarts([SLOW], 'overlayfs'),
    { most: 0.3, unit: '×' },
  ],
  [
    '`run --lazy` to the first output',
    'the worst image and network: part of the time of stargz (zstd:chunked) without recorded accesses',
    coldStarts([FAST, SLOW], 'stargz'),
    { most: 1, unit: '×' },
  ],
  [
    '`mount --lazy`, then the whole image read',
    'the worse network: part of the time of an eager mount, then the same',
    worst([FAST, SLOW].map((network) => share(`whole image, ${network}`, 'ours', 'eagerRead'))),
    { most: 1.1, unit: '×' },
  ],
  [
    '`mount --lazy` returns',
    'registry on loopback, 5 layers, a server that has mounted before: part of the time of an eager mount whose layers are here',
    share('mount returns', 'ours', 'eager'),
    { most: 1.5, unit: '×' },
  ],
  [
    'pull and run by containerd, laid out by a trace, through the worse of our lazy doors',
    'the worst image and network: part of the time of stargz with recorded accesses',
    worst(DOORS.map((door) => everyStart([FAST, SLOW], (name) => share(name, door, 'stargzRecorded')))),
    { most: 1, unit: '×' },
  ],
  [
    'the same, through the better one',
    'the worst image and network: part of the time of stargz with recorded accesses',
    best(DOORS.map((door) => everyStart([FAST, SLOW], (name) => share(name, door, 'stargzRecorded')))),
    { most: 0.9, unit: '×' },
  ],
  ...[
    [FAST, 0.4],
    [SLOW, 0.25],
  ].map(([network, most]) => [
    'the same, through the better one',
    `the worse image, ${network}: part of the time of containerd's own erofs snapshotter`,
    best(DOORS.map((door) => everyStart([network], (name) => share(name, door, 'erofs')))),
    { most, unit: '×' },
  ]),
  [
    'a layer unpacked in containerd by our differ',
    "dm-verity, every check: against containerd's own erofs differ without them",
    ratio('differ', 'differ', 'stock'),
    { least: 1.5, unit: '×' },
  ],
  ...['1 layer, gzip', '6 layers, gzip'].map((name) => [
    '`convert` from registry to registry',
    `${name}, 100 MB/s each way: against fetching or inflating, and encoding or sending, whichever takes longer`,
    flowing(name),
    { most: 1.25, unit: '×' },
  ]),
  ...[
    [SLOW, 0.5],
    [FAST, 0.8],
  ].map(([network, most]) => [
    '`convert --order`, `run --lazy` to the first output',
    `the worse image, ${network}: part of the time of the best rival without recorded accesses`,
    everyStart([network], (name) => ofBest(name, 'ordered', RIVALS)),
    { most, unit: '×' },
  ]),
  [
    '`convert --order`, `run --lazy` to the first output',
    'the worst image and network: part of the time of stargz with recorded accesses',
    everyStart([FAST, SLOW], (name) => share(name, 'ordered', 'stargzRecorded')),
    { most: 0.85, unit: '×' },
  ],
  [
    '`run --lazy --prefetch` of a trace to the first output',
    'the worse image, not laid out, 50 ms and 20 MB/s: part of the time without the trace',
    everyStart([SLOW], (name) => share(name, 'traced', 'ours')),
    { most: 0.5, unit: '×' },
  ],
  [
    '`convert --order`, `mount --lazy`',
    'until the first output: uncompressed bytes of chunks fetched, of the bytes that the kernel asked for',
    count('layout, python', 'ordered', 'bytes fetched of those asked for'),
    { most: 1.3, unit: '×' },
  ],
  [
    '`convert --order`, `mount --lazy`',
    'requests for the blob of a layer, beside the one for its table',
    count('layout, python', 'ordered', 'requests of a layer beside its table'),
    { most: 2 },
  ],
  [
    '`convert --order` by a trace from before an update',
    'the worse network: part of the time of a fresh trace',
    worst([FAST, SLOW].map((network) => share(`update, python, ${network}`, 'ours', 'fresh'))),
    { most: 1.3, unit: '×' },
  ],
  [
    '`convert --order`',
    'the worse image: its speed against that without',
    (results) => {
      const speeds = IMAGES.map((image) =>
        between('lazy', `convert --order, ${image}`, 'ours', 'plain')(results),
      );
      return speeds.includes(null) ? null : Math.min(...speeds);
    },
    { least: 0.95, unit: '×' },
  ],
  [
    'sequential read of what is here',
    'through a lazy mount, against EROFS on a plain file',
    between('lazy', 'sequential read', 'ours', 'plain'),
    { least: 0.45, unit: '×' },
  ],
  [
    'sequential read over a loop device',
    'of what is here, through a lazy file, against EROFS on a plain file',
    between('lazy', 'sequential read', 'loop', 'plain'),
    { least: 0.8, unit: '×' },
  ],
].map(([work, what, value, limits]) => ({ work, what, value, ...limits }));

function startMilliseconds(key) {
  return (results) => {
    const start = at(results, 'start', 'start');
    const [ours, node] = [row(start, key), row(start, 'node')];
    return ours && node ? (ours.seconds.median - node.seconds.median) * 1e3 : null;
  };
}

/** A bar as it stands: `{text, value, holds}`; both null where it wasn't measured. */
export function judge(bar, results) {
  const value = bar.value(results);
  const text = [
    bar.least !== undefined && `≥ ${bar.least}${bar.unit ?? ''}`,
    bar.most !== undefined && `≤ ${bar.most}${bar.unit ?? ''}`,
  ];
  const holds = value === null ? null : value >= (bar.least ?? -Infinity) && value <= (bar.most ?? Infinity);
  return { text: text.filter(Boolean).join(', '), value, holds };
}
