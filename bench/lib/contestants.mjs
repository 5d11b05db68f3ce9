// Contestants that several claims have.
import { existsSync, mkdirSync, rmSync, statSync } from 'node:fs';

/** The reference's chunks, which ours are compared with: as large as its. */
export const REFERENCE_CHUNKS = ['--chunk-size', '4MiB'];

/** Our program writing one output file; `argv` gets its path. What it encodes has chunks of the reference's size. */
export function oursWriting(context, args, { key = 'ours', label = 'ours', threads, result } = {}) {
  const out = context.inputs.scratch(`out-${key}`);
  const size = args[0] === 'encode' ? REFERENCE_CHUNKS : [];
  return {
    key,
    label,
    argv: context.ours([...args, out, ...size, '--json', '--quiet'], { threads }),
    before: () => rmSync(out, { recursive: true, force: true }),
    after: () => rmSync(out, { recursive: true, force: true }),
    result: (output) => result(JSON.parse(output), out),
  };
}

/** What `encode` made. */
export const encoded = (printed) => ({
  bytes: printed.size,
  diffId: printed.diffId,
  rootDigest: printed.annotations['dev.containerd.erofs.dmverity.root_digest'] ?? null,
});

/**
 * bench/go as the reference runs it, and the generous variant with a goroutine a core. `args(flags)` are its arguments without the output;
 * with `folder` the output is one.
 */
export function goContestants(
  context,
  args,
  { needsMkfs = false, folder = false, output = true, rounds } = {},
) {
  const skip = context.goMissing ?? (needsMkfs ? context.mkfsMissing : undefined);
  const variant = (key, label, flags) => {
    if (skip !== undefined) return { key, label, skip };
    const out = context.inputs.scratch(`out-${key}`);
    const clear = () => {
      rmSync(out, { recursive: true, force: true });
      if (folder && !existsSync(out)) mkdirSync(out);
    };
    return {
      key,
      label,
      rounds,
      argv: context.go([...args(flags), ...(output ? [out] : [])]),
      env: { TMPDIR: context.directory, ...(needsMkfs && { MKFS_EROFS: context.mkfs }) },
      before: clear,
      after: () => rmSync(out, { recursive: true, force: true }),
      result: goResult,
    };
  };
  return [
    variant('go', 'Go, as the pull request', []),
    variant('goCores', `Go, ${context.cores} goroutines`, ['-goroutines', String(context.cores)]),
  ];
}

function goResult(output) {
  const printed = JSON.parse(output);
  return {
    bytes: printed.bytes_out,
    diffId: printed.diff_id,
    rootDigest: printed.root_digest ?? null,
  };
}

/** Bytes of a file, with what it is. */
export const inputFile = (label, path) => ({ label, bytes: statSync(path).size });
