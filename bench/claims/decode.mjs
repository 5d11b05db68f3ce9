// Claim: decoding a blob with every check that there is takes little more than the checks and the decompression.
import { goContestants, inputFile, oursWriting } from '../lib/contestants.mjs';

export const title = 'decode: seekable blob → raw EROFS, every check; with dm-verity, and without';

export function* cases(context) {
  yield decoding(context, 'decode', context.inputs.blob());
  yield decoding(context, 'without a tree', context.inputs.blob({ verity: false }));
}

function decoding(context, name, blob) {
  const hasTree = 'dev.containerd.erofs.dmverity.offset' in blob.descriptor.annotations;
  return {
    name,
    input: inputFile('blob', blob.path),
    contestants: [
      oursWriting(context, ['decode', '--descriptor', blob.descriptorPath, blob.path], {
        result: ({ size }) => ({ bytes: size }),
      }),
      ...goContestants(context, (flags) => ['decode', ...goChecks(blob.descriptor), ...flags, blob.path]),
    ],
    limit() {
      const { parts } = context.parts.read(blob.path);
      if (!hasTree) delete parts.leaves;
      return { lanes: [{ parts }], streams: [parts.imageSha256] };
    },
  };
}

/** The flags with which bench/go checks all that our program does. */
export function goChecks({ digest, diffId, annotations }) {
  const at = (name) => annotations[`dev.containerd.erofs.${name}`];
  return [
    ...['-table', at('zstd.chunk_table_offset'), '-digest', digest, '-diff-id', diffId],
    ...(at('dmverity.offset') === undefined
      ? []
      : ['-verity', at('dmverity.offset'), '-root', at('dmverity.root_digest')]),
  ];
}
