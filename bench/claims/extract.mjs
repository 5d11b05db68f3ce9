// Claim: taking an image apart takes little longer than unpacking the tar of the same tree.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { inputFile } from '../lib/contestants.mjs';

export const title = 'extract: raw EROFS and seekable blob → files, against tar -x of the same tree';

const MEMORY = '/dev/shm';

export function* cases(context) {
  const image = context.inputs.image();
  const blob = context.inputs.blob({ verity: false });
  const tar = treeTar(context, image);
  for (const [name, folder] of places(context, statSync(tar).size)) {
    const places = [];
    const into = (key) => {
      const out = join(folder, `out-${key}`);
      places.push(out);
      return out;
    };
    try {
      yield {
        name,
        input: inputFile('tar', tar),
        contestants: contestants(context, { image, blob, tar, into }),
      };
    } finally {
      for (const place of places) rmSync(place, { recursive: true, force: true });
      if (folder !== context.inputs.scratch('.')) rmSync(folder, { recursive: true, force: true });
    }
  }
}

function contestants(context, { image, blob, tar, into }) {
  const ours = (key, label, args) => {
    const out = into(key);
    const argv = context.ours(
      ['extract', ...args, '--json', '--quiet'].map((arg) => (arg === 'OUT' ? out : arg)),
    );
    return {
      key,
      label,
      argv,
      ...cleared(out, false),
      result: (printed) => ({ bytes: JSON.parse(printed).bytes }),
    };
  };
  const unpacked = into('tar');
  return [
    ours('ours', 'ours, from the raw image', [image, 'OUT']),
    ours('oursBlob', 'ours, from the blob', [blob.path, 'OUT', '--descriptor', blob.descriptorPath]),
    { key: 'tar', label: 'tar -x', argv: ['tar', '-xf', tar, '-C', unpacked], ...cleared(unpacked, true) },
  ];
}

/** Each run begins without the folder, or, for a program that wants one, with an empty one. */
function cleared(out, made) {
  const clear = () => rmSync(out, { recursive: true, force: true });
  const before = () => {
    clear();
    if (made) mkdirSync(out);
  };
  return { before, after: clear };
}

/** A plain tar of the image's tree in the order of a walk: a corpus may be in any order, which would cost tar time. */
function treeTar(context, image) {
  const path = context.inputs.scratch('tree.tar');
  if (existsSync(path)) return path;
  const tree = context.inputs.scratch('tree');
  const [program, ...args] = context.ours(['extract', image, tree, '--quiet']);
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  execFileSync('tar', ['--sort=name', '--numeric-owner', '-cf', path, '-C', tree, '.']);
  rmSync(tree, { recursive: true });
  return path;
}

/** The folder of the benchmarks, and one in memory where there is room. */
function* places(context, bytes) {
  yield ['extract to disk', context.inputs.scratch('.')];
  if (!existsSync(MEMORY)) return;
  const { bavail, bsize } = statfsSync(MEMORY);
  if (bavail * bsize > 2 * bytes) yield ['extract to tmpfs', mkdtempSync(join(MEMORY, 'extract-bench-'))];
}
