// Claim: a layer's tar becomes a seekable blob with its dm-verity tree faster than in the Go reference, which runs
// mkfs.erofs and then encodes what that wrote.
import assert from 'node:assert/strict';
import { goResult, oursResult } from './encode.mjs';

export const needs = ['tar', 'mkfs'];

export function claim(context) {
  return {
    title: 'convert: layer tar → seekable blob with dm-verity',
    input: context.tar,
    ours: {
      argv: [...context.ours, 'encode', '--json', '--dm-verity', context.tar],
      result: oursResult,
    },
    go: {
      argv: [...context.go, 'convert', ...context.goFlags, '-dm-verity', context.tar],
      env: { MKFS_EROFS: context.mkfs },
      result: goResult,
    },
    // Two builders lay an image out differently, so digests can't agree; both must have made a tree, though.
    same(ours, go) {
      assert.match(ours.rootDigest ?? '', /^sha512:/, 'our dm-verity root digest');
      assert.match(go.rootDigest ?? '', /^sha512:/, "the reference's dm-verity root digest");
    },
  };
}
