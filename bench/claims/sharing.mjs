// Claim: chunks that begin where files do (--chunking files) are shared by releases of an image, at little cost in size and speed.

import { execFileSync } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { pairs } from '../lib/pairs.mjs';

export const title = 'sharing: chunks in common of two releases, by where chunks begin';

const KINDS = ['fixed', 'files'];

export async function* cases(context) {
  for (const pair of pairs(context.directory)) {
    if (pair.missing !== undefined) console.log(`  skipped: ${pair.name}: ${pair.missing}`);
    else yield pairCase(context, pair);
  }
}

function pairCase(context, { name, before, after }) {
  const blobOf = (kind, release) => context.inputs.scratch(`sharing-${name}-${kind}-${release}`);
  return {
    name,
    input: { label: `${name}, the later release`, bytes: statSync(after).size },
    contestants: KINDS.map((kind) => {
      const encode = (tar, release) =>
        context.ours([
          ...['encode', tar, blobOf(kind, release), '--profile', 'erofs-image-spec', '--chunking', kind],
          '--json',
        ]);
      return {
        key: kind,
        label: `--chunking ${kind}`,
        argv: encode(after, 'after'),
        before: () => {
          const [program, ...args] = encode(before, 'before');
          execFileSync(program, args, { stdio: ['ignore', 'ignore', 'ignore'] });
        },
        result: (output) => {
          const descriptor = `${blobOf(kind, 'after')}.json`;
          writeFileSync(descriptor, output);
          printShared(context, blobOf, kind, descriptor);
          return { bytes: JSON.parse(output).size };
        },
      };
    }),
  };
}

/** What of the later release the earlier one has. */
function printShared(context, blobOf, kind, descriptor) {
  const [program, ...args] = context.ours([
    ...['inspect', blobOf(kind, 'after'), '--descriptor', descriptor, '--depth', '0', '--json', '--quiet'],
    ...['--shared-with', blobOf(kind, 'before')],
  ]);
  const output = execFileSync(program, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 30,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [{ sharedBytes, chunks, sharedChunks }] = JSON.parse(output).sharedWith;
  console.log(`  --chunking ${kind}: ${sharedBytes} bytes shared, ${sharedChunks} of ${chunks} chunks`);
}
