// Claim: an image of six tar.gz layers, as registries have them, is converted near to what is possible: inflation, which is serial in each
// layer, hides behind the compression of the others.
import { goContestants, oursWriting, REFERENCE_CHUNKS } from '../lib/contestants.mjs';
import { layerBytes } from '../lib/layout.mjs';

export const title = 'convert: image of 6 tar.gz layers → seekable blobs with dm-verity';

export const cases = (context) => packedImage(context, 'gzip');

/** The case of an image whose layers a program compressed; `first` are the parts that come before all others of a layer. */
export async function* packedImage(context, compression) {
  const tars = context.inputs.layerTars();
  const { path, files } = await context.inputs.layout(tars, compression);
  const images = tars.map((tar) => context.inputs.image(tar));
  yield {
    name: `6 layers, ${compression}`,
    input: { label: `6 layers, ${compression}`, bytes: layerBytes(path) },
    contestants: [
      converting(context, path),
      ...goContestants(context, (flags) => ['convert', '-dm-verity', ...flags, ...files], {
        needsMkfs: true,
        folder: true,
      }),
    ],
    limit() {
      const lanes = files.map((file, i) => ({
        parts: { ...context.parts.source(file, { compression }), ...context.parts.write(images[i]).parts },
        first: ['inflate', 'unzstd'],
      }));
      return { lanes, streams: lanes.map(({ parts }) => parts.imageSha256) };
    },
  };
}

/** Our conversion of a layout to another, `--dm-verity` unless said otherwise. */
export function converting(context, layout, { verity = true } = {}) {
  const contestant = oursWriting(context, [], { result: () => ({}) });
  const out = context.inputs.scratch('out-ours');
  const flags = [...REFERENCE_CHUNKS, ...(verity ? ['--dm-verity'] : []), '--json', '--quiet'];
  return {
    ...contestant,
    argv: context.ours(['convert', `oci:${layout}`, `oci:${out}:bench`, ...flags]),
    result: () => ({ bytes: layerBytes(out) }),
  };
}
