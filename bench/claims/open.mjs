// Claim: what is in a layer can be read at once: the table and one chunk are fetched, not the blob.
import { inputFile } from '../lib/contestants.mjs';
import { serve } from '../lib/peers.mjs';
import { quoted } from '../lib/programs.mjs';

export const title =
  'open to first byte: seconds from nothing to the first 4 KiB, and to the listing of the root folder';

export async function* cases(context) {
  const blob = context.inputs.blob();
  const server = await serve(context, blob.path);
  try {
    for (const [name, location] of [
      ['file', blob.path],
      ['HTTP', server.url],
    ]) {
      yield {
        name,
        input: inputFile('blob', blob.path),
        measured: ({ metrics }) => metrics.firstByte,
        contestants: [
          {
            key: 'ours',
            label: 'ours',
            argv: context.job('open', location, blob.descriptorPath),
            result: (output) => ({ metrics: JSON.parse(output) }),
          },
          wholeBlob(context, blob, location),
        ],
      };
    }
  } finally {
    await server.stop();
  }
}

/** What there is without random access: the blob fetched, and decoded by our own program. */
function wholeBlob(context, blob, location) {
  const out = context.inputs.scratch('out-whole');
  const fetched = context.inputs.scratch('out-fetched');
  const decode = context.ours(['decode', '--quiet', '--descriptor', blob.descriptorPath, fetched, out]);
  const fetch = location.startsWith('http')
    ? ['curl', '-sf', '-o', fetched, location]
    : ['cp', location, fetched];
  return {
    key: 'whole',
    label: 'the whole blob fetched and decoded (ours)',
    rounds: 1,
    argv: ['sh', '-c', `rm -f ${quoted([out])} && ${quoted(fetch)} && ${quoted(decode)}`],
  };
}
