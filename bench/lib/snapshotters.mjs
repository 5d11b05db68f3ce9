// Snapshotters of containerd that fetch what is read, for the claim `lazy`. Each is `{path}`, the folder of its programs, or `{missing}`, the reason.
//   stargz  in $STARGZ_BIN, or built by --build-peers from its repository ($STARGZ_REPOSITORY: another copy of it)
//   SOCI    in $SOCI_BIN, or built by --build-peers from its modules
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const STARGZ = { repository: 'https://github.com/containerd/stargz-snapshotter', commit: '7cf47cba' };
const SOCI = 'github.com/awslabs/soci-snapshotter';
const SOCI_VERSION = 'v0.16.1';
const SOCI_CMD_VERSION = 'v0.0.0-20260930233240-61147fe7c929';

const stargzNames = ['containerd-stargz-grpc', 'ctr-remote'];
const sociNames = ['soci', 'soci-snapshotter-grpc'];

/** Of the images that they made: others may be made by other versions. */
export const snapshotterVersions = { stargz: STARGZ.commit, soci: SOCI_VERSION };

export function findStargz(directory, builds) {
  return find(
    'stargz-snapshotter',
    process.env.STARGZ_BIN,
    join(directory, 'stargz'),
    builds && buildStargz,
    stargzNames,
  );
}

export function findSoci(directory, builds) {
  return find(
    'soci-snapshotter',
    process.env.SOCI_BIN,
    join(directory, 'soci'),
    builds && buildSoci,
    sociNames,
  );
}

function find(what, installed, folder, build, names) {
  const path = installed || join(folder, 'bin');
  const isThere = () => names.every((name) => existsSync(join(path, name)));
  try {
    if (!isThere() && !installed && build) build(folder);
  } catch (error) {
    return { missing: `${what} can't be built: ${error.message.trim().split('\n').at(-1)}` };
  }
  return isThere() ? { path } : { missing: `${what} is not installed (--build-peers builds it)` };
}

/** Its programs are a module of their own which replaces its others by folders, so they are built where they lie. */
function buildStargz(folder) {
  const sources = join(folder, 'src');
  rmSync(sources, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  run('git', ['clone', '--quiet', process.env.STARGZ_REPOSITORY || STARGZ.repository, sources]);
  run('git', ['-C', sources, 'checkout', '--quiet', STARGZ.commit]);
  build(join(sources, 'cmd'), folder, stargzNames);
}

/** Likewise, but from two modules. */
function buildSoci(folder) {
  const sources = join(folder, 'src');
  rmSync(sources, { recursive: true, force: true });
  for (const [module, place] of [
    [`${SOCI}@${SOCI_VERSION}`, sources],
    [`${SOCI}/cmd@${SOCI_CMD_VERSION}`, join(sources, 'cmd')],
  ]) {
    const { Dir } = JSON.parse(run('go', ['mod', 'download', '-json', module]));
    cpSync(Dir, place, { recursive: true });
    run('chmod', ['-R', 'u+w', place]);
  }
  build(join(sources, 'cmd'), folder, sociNames);
}

function build(cwd, folder, names) {
  const bin = join(folder, 'bin');
  mkdirSync(bin, { recursive: true });
  run('go', ['build', '-buildvcs=false', '-o', `${bin}/`, ...names.map((name) => `./${name}`)], { cwd });
}

function run(program, args, options) {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], ...options });
}
