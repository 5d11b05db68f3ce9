// Claim: verifying a blob, tree and all, costs the digests and the decompression: nothing is written.
import { goContestants, inputFile } from '../lib/contestants.mjs';
import { goChecks } from './decode.mjs';

export const title = 'verify: every digest, frame, DiffID and the Merkle tree of a blob';

export function* cases(context) {
  const blob = context.inputs.blob();
  yield {
    name: 'verify',
    input: inputFile('blob', blob.path),
    contestants: [
      {
        key: 'ours',
        label: 'ours',
        argv: context.ours(['verify', blob.path, '--descriptor', blob.descriptorPath, '--json', '--quiet']),
      },
      ...goContestants(context, (flags) => ['decode', ...goChecks(blob.descriptor), ...flags, blob.path], {
        output: false,
      }),
    ],
    limit() {
      const { parts } = context.parts.read(blob.path, { written: false });
      return { lanes: [{ parts }], streams: [parts.imageSha256] };
    },
  };
}
