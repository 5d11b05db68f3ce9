// Claim: the dm-verity tree of an image, which costs the Go pull request more than all else of an encoding, is nearly free here.
import { inputFile } from '../lib/contestants.mjs';

export const title = 'dm-verity Merkle tree of a raw EROFS image in a file';

const SETS = { sha512: ['avx2', 'portable'], sha256: ['avx512', 'portable'] };

export function* cases(context) {
  const image = context.inputs.image();
  for (const algorithm of ['sha512', 'sha256']) {
    for (const threads of context.cores > 1 ? [1, context.cores] : [1]) {
      yield {
        name: `${algorithm}, ${threads === 1 ? '1 core' : `${threads} cores`}`,
        input: inputFile('raw EROFS', image),
        cores: threads,
        contestants: [
          tree(context, image, algorithm, threads),
          ...(threads === 1
            ? SETS[algorithm].map((set) => tree(context, image, algorithm, threads, set))
            : []),
          ...(threads === 1 ? leaves(context, image, algorithm) : []),
          go(context, image, algorithm, 1),
          ...(threads > 1 ? [go(context, image, algorithm, threads)] : []),
        ],
        agree: ({ ours, go: reference }) => {
          if (reference && ours.root !== reference.root)
            throw new Error(`roots differ: ${ours.root}, ${reference.root}`);
        },
        limit: () => ({
          lanes: [{ parts: { leaves: context.parts.run(['merkle', image, algorithm]).seconds.leaves } }],
        }),
      };
    }
  }
}

/** Our tree, without Node's start; with the hash kernels of one instruction set where `set` is given. */
function tree(context, image, algorithm, threads, set) {
  return {
    key: set ?? 'ours',
    ...(set === 'portable' && { rounds: 1 }),
    label: set === undefined ? 'ours' : `ours, ${set} forced`,
    argv: context.job('merkle', image, algorithm, threads),
    env: set === undefined ? {} : { SEEKABLE_EROFS_HASH: set },
    result: (output) => JSON.parse(output),
  };
}

/** The leaves alone, from memory: by the core, and by OpenSSL's SHA of one block after the other. */
function leaves(context, image, algorithm) {
  const side = (key, label, part) => ({
    key,
    label,
    argv: context.parts.command(['merkle', image, algorithm]),
    result: (output) => ({ seconds: JSON.parse(output).seconds[part] }),
  });
  const label = 'leaves alone, OpenSSL a block at a time (C)';
  const measured = context.parts.run(['merkle', image, algorithm]).seconds;
  return [
    side('leaves', 'leaves alone, the core (C++)', 'leaves'),
    measured.openssl === undefined
      ? { key: 'openssl', label, skip: 'no headers of OpenSSL (apt install libssl-dev)' }
      : side('openssl', label, 'openssl'),
  ];
}

function go(context, image, algorithm, goroutines) {
  const [key, label] =
    goroutines === 1
      ? ['go', 'go-dmverity (no threads)']
      : ['goCores', `Go, ${goroutines} goroutines, leaves alone`];
  if (context.goMissing !== undefined) return { key, label, skip: context.goMissing };
  return {
    key,
    label,
    argv: context.go(['merkle', '-hash', algorithm, '-goroutines', String(goroutines), image]),
    env: { TMPDIR: context.directory },
    result: (output) => {
      const { seconds, root_digest: root } = JSON.parse(output);
      return { seconds, root };
    },
  };
}
