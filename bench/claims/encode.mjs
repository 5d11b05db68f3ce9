// Claim: a raw EROFS image becomes a seekable blob with its dm-verity tree faster than in the Go reference, near to what is possible.
import assert from 'node:assert/strict';
import { encoded, goContestants, inputFile, oursWriting } from '../lib/contestants.mjs';

export const title = 'encode: raw EROFS → seekable blob';

export function* cases(context) {
  const image = context.inputs.image();
  for (const verity of [true, false]) {
    const flag = (name) => (verity ? [name] : []);
    yield {
      name: verity ? 'with dm-verity' : 'plain',
      input: inputFile('raw EROFS', image),
      contestants: [
        oursWriting(context, ['encode', ...flag('--dm-verity'), image], { result: encoded }),
        ...goContestants(context, (more) => ['encode', ...flag('-dm-verity'), ...more, image]),
      ],
      agree({ ours, ...others }) {
        for (const other of Object.values(others)) {
          assert.equal(ours.diffId, other.diffId, 'DiffID');
          assert.equal(ours.rootDigest, other.rootDigest, 'dm-verity root digest');
        }
      },
      limit() {
        const { parts } = context.parts.write(image, { leaves: verity ? 'sha512' : 'none' });
        return { lanes: [{ parts }], streams: [parts.imageSha256] };
      },
    };
  }
}
