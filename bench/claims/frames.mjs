// Claim: compressing the frames, the largest part of any conversion, is as fast as zstd itself.
import { inputFile } from '../lib/contestants.mjs';

export const title = 'frame compression alone: zstd level 3, frames of 4 MiB';

const CHUNK = 4 << 20;

export function* cases(context) {
  const image = context.inputs.image();
  for (const threads of context.cores > 1 ? [1, context.cores] : [1]) {
    yield {
      name: threads === 1 ? '1 core' : `${threads} cores`,
      input: inputFile('raw EROFS', image),
      cores: threads,
      contestants: [
        native(context, 'ours', 'ours (the core alone)', ['frames', image, 3, CHUNK, threads]),
        go(context, image, threads),
        ...(threads === 1
          ? [native(context, 'single', 'zstd, the whole image as one frame', ['single', image, 3])]
          : []),
      ],
      // One core is the limit of several.
      ...(threads > 1 && {
        limit: () => ({
          lanes: [{ parts: { zstd: context.parts.run(['frames', image, 3, CHUNK, 1]).seconds.zstd } }],
        }),
      }),
    };
  }
}

function native(context, key, label, args) {
  return {
    key,
    label,
    argv: context.parts.command(args),
    result(output) {
      const { seconds, bytes } = JSON.parse(output);
      return { seconds: seconds.wall ?? seconds.zstd, bytes: bytes.blob };
    },
  };
}

function go(context, image, goroutines) {
  const [key, label] = ['go', 'Go, klauspost/compress at its defaults'];
  if (context.goMissing !== undefined) return { key, label, skip: context.goMissing };
  return {
    key,
    label,
    argv: context.go(['frames', '-goroutines', String(goroutines), image]),
    env: goroutines === 1 ? { GOMAXPROCS: '1' } : {},
    result(output) {
      const { seconds, bytes_out: bytes } = JSON.parse(output);
      return { seconds, bytes };
    },
  };
}
