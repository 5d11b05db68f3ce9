// A case of the claim `lazy`: a file that is here already, read from start to end through a lazy mount and through a plain one.
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { corpusTar, whole } from './corpus.mjs';
import { dropCaches } from './cold.mjs';
import { OurState } from './lazy-ours.mjs';

const BYTES = 512 << 20;
const ROUNDS = 6;

export async function sequentialCase(context, registry) {
  const tar = whole(join(context.directory, 'lazy-one-file.tar'), (path) => oneFile(context.directory, path));
  const source = await context.inputs.layout([tar], 'none');
  const reference = `docker://${registry.host}/lazy/sequential:ours`;
  const size = ['--chunk-size', context.chunkSize, '--quiet'];
  const [program, ...args] = context.ours(['convert', `oci:${source.path}:bench`, reference, ...size]);
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  return {
    name: 'sequential read',
    input: { label: 'a file whose chunks are all here, and in the page cache', bytes: BYTES },
    runs: Math.max(ROUNDS, context.runs),
    contestants: [
      reading(context, reference, { key: 'ours', label: 'mount --lazy, mounted again', lazy: true }),
      reading(context, reference, {
        key: 'loop',
        label: 'the same, over a loop device',
        lazy: true,
        loop: true,
      }),
      reading(context, reference, { key: 'plain', label: 'mount: EROFS on a plain file', lazy: false }),
    ],
  };
}

/** Mounted anew for each run; what lies below the mount is in the page cache, what the mount itself had of it is not. */
function reading(context, reference, { key, label, lazy, loop = false }) {
  const state = new OurState(context);
  const mountPoint = () => state.at(loop ? 'over-loop' : 'mnt');
  let isHere = false;
  const mount = () => state.run('mount', ...(lazy ? ['--lazy'] : []), reference, state.at('mnt'));
  return {
    key,
    label,
    argv: context.job('sequential', join(mountPoint(), 'file')),
    async before() {
      if (!isHere) {
        state.renew();
        if (lazy) await state.serve();
        mount();
        readAll(state.at('mnt'));
        state.run('umount', state.at('mnt'));
        isHere = true;
      }
      dropCaches([]);
      readAll(state.at('state/content'));
      mount();
      if (loop) mountOverLoop(state.at('mnt'), mountPoint());
    },
    result: (output) => JSON.parse(output),
    after() {
      if (loop) execFileSync('umount', [mountPoint()]);
      state.run('umount', state.at('mnt'));
    },
  };
}

/** As a layer that dm-verity checks is mounted, without dm-verity: this kernel may have none. */
function mountOverLoop(mounted, target) {
  mkdirSync(target, { recursive: true });
  const file = execFileSync('findmnt', ['--noheadings', '--output', 'SOURCE', mounted], { encoding: 'utf8' });
  const set = ['--find', '--show', '--read-only', '--direct-io=on', file.trim()];
  const device = execFileSync('losetup', set, { encoding: 'utf8' }).trim();
  try {
    execFileSync('mount', ['-t', 'erofs', '-o', 'ro', device, target]);
  } finally {
    execFileSync('losetup', ['--detach', device]); // goes with its last user, the mount
  }
}

function readAll(folder) {
  execFileSync('sh', ['-c', 'find "$1" -type f -exec cat {} + >/dev/null', 'sh', folder]);
}

function oneFile(directory, path) {
  const folder = `${path}.d`;
  mkdirSync(folder);
  try {
    const from = corpusTar(directory, 'usr', 680);
    execFileSync('sh', ['-c', `head -c ${BYTES} "$1" >"$2/file"`, 'sh', from, folder]);
    execFileSync('tar', ['-C', folder, '--mtime=@1700000000', '-cf', path, 'file']);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
