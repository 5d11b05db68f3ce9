import type { BlobInspection, ImageInspection } from '../index';
import { ListingText } from './listing-text';
import { indent, shortDigest, table } from './text';

/** An inspection as an indented tree; `maxChunks` entries of each chunk table. */
export function describeInspection(document: BlobInspection | ImageInspection, maxChunks: number): string[] {
  return 'manifests' in document ? describeImage(document, maxChunks) : describeBlob(document, maxChunks);
}

function describeImage({ digest, mediaType, manifests }: ImageInspection, maxChunks: number): string[] {
  const lines = [digest, ...indent(table([['media type', mediaType]]))];
  for (const manifest of manifests) {
    const rows = [
      ['platform', manifest.platform],
      ['config', manifest.config],
    ];
    lines.push(`manifest ${manifest.digest}`, ...indent(table(rows)));
    manifest.layers.forEach((layer, number) => {
      const annotations = table(Object.entries(layer.descriptor.annotations ?? {}));
      lines.push(`  layer ${number} ${layer.descriptor.digest}`);
      if (annotations.length > 0) lines.push('    annotations', ...indent(annotations, 6));
      lines.push(...indent(describeBlob(layer, maxChunks), 4));
    });
  }
  return lines;
}

function describeBlob(
  { mediaType, size, profile, table: chunks, dmverity, tree, share }: BlobInspection,
  maxChunks: number,
) {
  const rows = [
    ['media type', mediaType],
    ['size', `${size}`],
  ];
  if (profile) rows.push(['profile', profile]);
  if (share) rows.push(['metadata', describeShare(share)]);
  return [
    ...table(rows),
    ...(chunks ? describeTable(chunks, maxChunks) : []),
    ...(dmverity ? describeVerity(dmverity) : []),
    ...(tree ? ['directory tree', ...indent(new ListingText(true).lines(tree))] : []),
  ];
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
      `${chunks.uncompressedSize} in ${entries.length} chunks of ${chunks.chunkSize ?? 'several sizes'}`,
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
