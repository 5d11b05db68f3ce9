import type { BlobInspection, ImageInspection, OpenInspection } from '../index';
import { listingLines } from './listing-text';
import { humanCount, indent, shortDigest, table } from './text';

type Blob = BlobInspection | Extract<OpenInspection['document'], { tree: unknown }>;
type Image = ImageInspection | Extract<OpenInspection['document'], { manifests: unknown }>;
type SharedRow = NonNullable<ImageInspection['sharedWith']>[number];
type Lines = AsyncGenerator<string[], void, undefined>;

/** An inspection as an indented tree, some lines after the others; `maxChunks` entries of each chunk table. */
export async function* describeInspection(document: Blob | Image, maxChunks: number): Lines {
  if (document.sharedWith !== undefined)
    yield ['shared with other images', ...indent(table(document.sharedWith.map(sharedRow)))];
  yield* 'manifests' in document ? describeImage(document, maxChunks) : describeBlob(document, maxChunks);
}

function sharedRow({ reference, bytes, sharedBytes, chunks, sharedChunks }: SharedRow): string[] {
  const part = bytes === 0 ? 0 : (100 * sharedBytes) / bytes;
  return [
    reference,
    `${sharedBytes} of ${humanCount(bytes, 'byte')} (${part.toFixed(1)} %), ${sharedChunks} of ${humanCount(chunks, 'chunk')}`,
  ];
}

async function* describeImage({ digest, mediaType, manifests }: Image, maxChunks: number): Lines {
  yield [digest, ...indent(table([['media type', mediaType]]))];
  for await (const manifest of manifests) {
    const rows = [
      ['platform', manifest.platform],
      ['config', manifest.config],
    ];
    yield [`manifest ${manifest.digest}`, ...indent(table(rows))];
    let number = 0;
    for await (const layer of manifest.layers) {
      const annotations = table(Object.entries(layer.descriptor.annotations ?? {}));
      yield [`  layer ${number++} ${layer.descriptor.digest}`];
      if (annotations.length > 0) yield ['    annotations', ...indent(annotations, 6)];
      for await (const lines of describeBlob(layer, maxChunks)) yield indent(lines, 4);
    }
  }
}

async function* describeBlob(blob: Blob, maxChunks: number): Lines {
  const { mediaType, size, profile, table: chunks, dmverity, tree, share } = blob;
  const rows = [
    ['media type', mediaType],
    ['size', `${size}`],
  ];
  if (profile) rows.push(['profile', profile]);
  if (share) rows.push(['metadata', describeShare(share)]);
  yield [
    ...table(rows),
    ...(chunks ? describeTable(chunks, maxChunks) : []),
    ...(dmverity ? describeVerity(dmverity) : []),
  ];
  if (tree === null) return;
  yield ['directory tree'];
  for await (const lines of listingLines(tree, true)) yield indent(lines);
}

function describeShare({ metadataBytes, imageBytes }: NonNullable<BlobInspection['share']>): string {
  return `${metadataBytes} of the image's ${imageBytes} (${((100 * metadataBytes) / imageBytes).toFixed(1)} %)`;
}

function describeTable(chunks: NonNullable<BlobInspection['table']>, maxChunks: number): string[] {
  const { entries } = chunks;
  const rows = [
    ['offset', `${chunks.offset}`],
    ['version', `${chunks.version}`],
    [
      'uncompressed',
      `${chunks.uncompressedSize} in ${humanCount(entries.length, 'chunk')} of ${chunks.chunkSize ?? 'several sizes'}`,
    ],
    ['digest', chunks.digest],
  ];
  const shown = entries
    .slice(0, maxChunks)
    .map(({ offset, size, checksum }, number) => [
      `${number}`,
      `${offset}`,
      `${size}`,
      shortDigest(checksum ?? '-'),
    ]);
  const lines = [...table(rows), ...table([['chunk', 'offset', 'size', 'checksum'], ...shown], [0, 1, 2])];
  if (shown.length < entries.length) lines.push(`${entries.length - shown.length} more (--chunks all)`);
  return ['chunk table', ...indent(lines)];
}

function describeVerity(verity: NonNullable<BlobInspection['dmverity']>): string[] {
  const rows = [
    ['offset', `${verity.offset}`],
    ['root', verity.rootDigest],
    ['hash', verity.hashAlgorithm],
    ['blocks', `${verity.dataBlocks} of ${verity.dataBlockSize}, hash blocks of ${verity.hashBlockSize}`],
    ['salt', verity.salt === '' ? '-' : verity.salt],
    ['uuid', verity.uuid],
  ];
  return ['dm-verity', ...indent(table(rows))];
}
