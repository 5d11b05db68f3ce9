// Claim: many small images are converted side by side, so that no core waits for another.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { goContestants, REFERENCE_CHUNKS } from '../lib/contestants.mjs';
import { layerBytes } from '../lib/layout.mjs';
import { smallImages } from '../lib/small-images.mjs';

export const title =
  'batch: 50 small images (one tar.gz layer of 4 MB each), and one of them, with dm-verity';

const IMAGES = 50;
const BYTES = 4e6;

export async function* cases(context) {
  const { layouts, files } = await smallImages(context, { count: IMAGES, bytes: BYTES });
  const hasBatch = spawnSync(...split(context.ours(['batch', '--help']))).status === 0;
  let limit;
  yield {
    name: `${IMAGES} images`,
    input: { label: 'layouts', bytes: layouts.reduce((total, path) => total + layerBytes(path), 0) },
    contestants: [
      hasBatch
        ? batch(context, layouts)
        : { key: 'ours', label: 'ours: batch', skip: 'this build has no command "batch"' },
      oneByOne(context, layouts),
      ...goContestants(context, (flags) => ['convert', '-dm-verity', ...flags, ...files], {
        needsMkfs: true,
        folder: true,
      }),
    ],
    limit: () => (limit ??= limitOf(context, files)), // 150 processes: once
  };
  yield oneImage(context, layouts[0], files[0]);
}

/** What a process takes beside the work: its start, and the waits for the disk. */
function oneImage(context, layout, file) {
  const out = context.inputs.scratch('out-one');
  const args = ['--dm-verity', '--chunk-size', REFERENCE_CHUNKS[1], '--quiet'];
  return {
    name: 'one image',
    input: { label: 'layout', bytes: layerBytes(layout) },
    runs: Math.max(10, context.runs),
    contestants: [
      {
        key: 'ours',
        label: 'ours: convert',
        argv: context.ours(['convert', `oci:${layout}`, `oci:${out}:bench`, ...args]),
        before: () => rmSync(out, { recursive: true, force: true }),
        result: () => ({ bytes: layerBytes(out) }),
      },
    ],
    limit: () => limitOf(context, [file]),
  };
}

function limitOf({ parts, inputs }, files) {
  const lanes = files.map((file) => ({
    parts: {
      ...parts.source(file, { compression: 'gzip' }),
      ...parts.write(inputs.image(file.replace(/\.gz$/, ''))).parts,
    },
    first: ['inflate'],
  }));
  return { lanes };
}

function batch(context, layouts) {
  const out = context.inputs.scratch('out-batch');
  const list = context.inputs.scratch('batch.json');
  return {
    key: 'ours',
    label: 'ours: batch',
    argv: context.ours(['batch', list, '--quiet']),
    before() {
      for (const path of [out, `${list}.journal`]) rmSync(path, { recursive: true, force: true });
      mkdirSync(out);
      const jobs = layouts.map((path, i) => ({
        source: `oci:${path}`,
        destination: `oci:${join(out, String(i))}:bench`,
        'dm-verity': true,
        'chunk-size': REFERENCE_CHUNKS[1],
      }));
      writeFileSync(list, JSON.stringify(jobs));
    },
    result: () => ({
      bytes: layouts.reduce((total, _, i) => total + layerBytes(join(out, String(i))), 0),
    }),
  };
}

/** A process for each image, one after the other. */
function oneByOne(context, layouts) {
  const out = context.inputs.scratch('out-single');
  const [node, program] = context.ours(['convert']);
  const script =
    'out=$1 node=$2 program=$3; shift 3; i=0; for image; do i=$((i + 1)); "$node" "$program" convert --dm-verity --chunk-size 4MiB --quiet "oci:$image" "oci:$out/$i:bench" || exit; done';
  return {
    key: 'single',
    rounds: 1,
    label: 'ours: convert, a process for each',
    argv: ['sh', '-c', script, 'sh', out, node, program, ...layouts],
    before() {
      rmSync(out, { recursive: true, force: true });
      mkdirSync(out);
    },
  };
}

const split = ([program, ...args]) => [program, args];
