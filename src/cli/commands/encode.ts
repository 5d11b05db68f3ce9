import type { Command } from 'commander';
import type { EncodedLayer } from '../../index';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import {
  addEncodeOptions,
  encodeOptions,
  requirePath,
  takesOutput,
  type CommonFlags,
  type EncodeFlags,
} from '../options';
import { humanCount, humanWork, indent, table } from '../text';

type Flags = CommonFlags & EncodeFlags;

export function encodeCommand(session: Session): Command {
  const command = defineCommand(
    'encode <LAYER> <BLOB>',
    'Encode one layer (tar or raw EROFS) as a seekable blob',
    [
      'encode layer.tar.gz layer.blob',
      'encode layer.erofs layer.blob --dm-verity --json >descriptor.json',
      'encode layer.tar layer.blob --chunk-size 1MiB --level 9',
    ],
  );
  addEncodeOptions(command);
  return finishCommand(command, session, async ({ options, elapsed }, [layer, blob]) => {
    const flags = command.opts<Flags>();
    const hint = 'for an image see convert';
    const paths = [requirePath(layer!, hint), requirePath(blob!, hint)] as const;
    const stdoutTaken = takesOutput(paths[1], flags);
    const { encodeLayer } = await library();
    const document = await encodeLayer(...paths, { ...options, ...(await encodeOptions(flags)) });
    return {
      document,
      text: [document.digest],
      summary: describe(document, flags, elapsed()),
      stdoutTaken,
    };
  });
}

function describe(
  { mediaType, size, annotations, ...layer }: EncodedLayer,
  { chunking }: EncodeFlags,
  seconds: number,
): string[] {
  const most = chunking === 'files' ? 'at most ' : '';
  const rows = [
    ['media type', mediaType],
    ['size', `${size}`],
    ['diffId', layer.diffId],
    [
      'uncompressed',
      `${layer.uncompressedSize} in ${humanCount(layer.chunks, 'chunk')} of ${most}${layer.chunkSize}`,
    ],
  ];
  const work = humanWork(layer.uncompressedSize, size, seconds);
  return [...table(rows), 'annotations', ...indent(table(Object.entries(annotations))), work];
}
