// Claim: a raw EROFS image becomes a seekable blob with its dm-verity tree faster than in the Go reference.
import assert from 'node:assert/strict';

export const needs = ['image'];

/** The claim for one image; `encode-plain.mjs` is the same without dm-verity. */
export function claim(context, { verity = true } = {}) {
  return {
    title: `encode: raw EROFS → seekable blob${verity ? ' with dm-verity' : ''}`,
    input: context.image,
    ours: {
      argv: [...context.ours, 'encode', '--json', ...(verity ? ['--dm-verity'] : []), context.image],
      result: oursResult,
    },
    go: {
      argv: [...context.go, 'encode', ...context.goFlags, ...(verity ? ['-dm-verity'] : []), context.image],
      result: goResult,
    },
    same(ours, go) {
      assert.equal(ours.diffId, go.diffId, 'DiffID');
      assert.equal(ours.rootDigest, go.rootDigest, 'dm-verity root digest');
    },
  };
}

export const oursResult = (printed) => ({
  bytes: printed.size,
  diffId: printed.diffId,
  rootDigest: printed.annotations['dev.containerd.erofs.dmverity.root_digest'] ?? null,
});

export const goResult = (printed) => ({
  bytes: printed.bytes_out,
  diffId: printed.diff_id,
  rootDigest: printed.root_digest ?? null,
});
