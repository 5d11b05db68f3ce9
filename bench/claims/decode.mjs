// Claim: decoding a blob with every check that there is takes little more than the checks and the decompression.
import { goContestants, inputFile, oursWriting } from '../lib/contestants.mjs';

export const title = 'decode: seekable blob with dm-verity → raw EROFS, every check';

export function* cases(context) {
  const blob = context.inputs.blob();
  yield {
    name: 'decode',
    input: inputFile('blob', blob.path),
    contestants: [
      oursWriting(context, ['decode', '--descriptor', blob.descriptorPath, blob.path], {
        result: ({ size }) => ({ bytes: size }),
      }),
      ...goContestants(context, (flags) => ['decode', ...goChecks(blob.descriptor), ...flags, blob.path]),
    ],
    limit() {
      const { parts } = context.parts.read(blob.path);
      return { lanes: [{ parts }], streams: [parts.imageSha256] };
    },
  };
}

/** The flags with which bench/go checks all that our program does. */
export function goChecks({ digest, diffId, annotations }) {
  const at = (name) => annotations[`dev.containerd.erofs.${name}`];
  return [
    ...['-table', at('zstd.chunk_table_offset'), '-digest', digest, '-diff-id', diffId],
    ...['-verity', at('dmverity.offset'), '-root', at('dmverity.root_digest')],
  ];
}
