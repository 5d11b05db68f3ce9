// Claim: a layer's tar becomes a seekable blob with its dm-verity tree faster than in the Go reference, which runs
// mkfs.erofs and then encodes what that wrote.
import { encoded, goContestants, inputFile, oursWriting } from '../lib/contestants.mjs';

export const title = 'convert: layer tar → seekable blob with dm-verity';

export function* cases(context) {
  const tar = context.inputs.tar();
  const image = context.inputs.image();
  yield {
    name: 'tar',
    input: inputFile('tar', tar),
    contestants: [
      oursWriting(context, ['encode', '--dm-verity', tar], { result: encoded }),
      ...goContestants(context, (flags) => ['convert', '-dm-verity', ...flags, tar], { needsMkfs: true }),
    ],
    limit() {
      const { parts } = context.parts.write(image);
      return { lanes: [{ parts }], streams: [parts.imageSha256] };
    },
  };
}
