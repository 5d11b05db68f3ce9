// Claim: without dm-verity, which others have not, a conversion is still faster than what people use today.
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, statSync } from 'node:fs';
import { encoded, goContestants, inputFile, oursWriting } from '../lib/contestants.mjs';

const QUIET = ['ignore', 'pipe', 'pipe'];

export const title = 'convert: one tar, without dm-verity, against other programs';

export async function* cases(context) {
  const tar = context.inputs.tar();
  const image = context.inputs.image();
  const containerd = await prepareContainerd(context, tar);
  try {
    yield {
      name: 'tar, no dm-verity',
      input: inputFile('tar', tar),
      contestants: [
        oursWriting(context, ['encode', tar], { result: encoded }),
        ...goContestants(context, (flags) => ['convert', ...flags, tar], { needsMkfs: true }),
        containerd.contestant,
        ...mksquashfs(context, tar),
        nydus(context, tar),
        estargz(context, tar),
      ],
      limit() {
        const { parts } = context.parts.write(image, { leaves: 'none' });
        return { lanes: [{ parts }], streams: [parts.imageSha256] };
      },
    };
  } finally {
    await containerd.stop();
  }
}

/** containerd's own conversion, of an image in its content store, by ctr; the CPU time of its daemon is not counted. */
async function prepareContainerd(context, tar) {
  const [key, label] = ['containerd', 'containerd: ctr images convert --erofs zstd'];
  const daemon = await context.peers.containerd();
  if (daemon.missing) return { contestant: { key, label, skip: daemon.missing }, stop() {} };
  try {
    const { path } = await context.inputs.layout([tar], 'none');
    const archive = context.inputs.scratch('containerd.tar');
    execFileSync('tar', ['-C', path, '-cf', archive, '.']);
    const [source, target] = ['example.test/bench:1', 'example.test/converted:1'];
    const ctr = (...args) => {
      const [program, ...rest] = daemon.ctr(...args);
      return execFileSync(program, rest, { env: { ...process.env, ...daemon.env }, stdio: QUIET });
    };
    ctr('images', 'import', '--no-unpack', '--local', archive);
    rmSync(archive);
    const contestant = {
      key,
      label,
      rounds: 2,
      argv: daemon.ctr('images', 'convert', '--erofs', 'zstd', source, target),
      env: daemon.env,
      before: () => ctr('images', 'rm', '--sync', target),
      note: "wall time; the daemon's CPU time and memory are not in it",
    };
    return { contestant, stop: daemon.stop };
  } catch (error) {
    await daemon.stop();
    return { contestant: { key, label, skip: error.message.split('\n')[0] }, stop() {} };
  }
}

/** From the tar, as ours, and from a folder, where it reads files by several threads. */
function mksquashfs(context, tar) {
  const { path, missing } = context.peers.mksquashfs;
  const out = context.inputs.scratch('out.sqfs');
  const flags = ['-comp', 'zstd', '-Xcompression-level', '3', '-no-progress', '-quiet', '-noappend'];
  const variant = (key, label, rest) =>
    missing
      ? { key, label, skip: missing }
      : {
          key,
          label,
          rounds: 2,
          before: () => rmSync(out, { force: true }),
          result: () => ({ bytes: statSync(out).size }),
          ...rest,
        };
  const tree = context.inputs.scratch('tree');
  const unpack = () => {
    mkdirSync(tree, { recursive: true });
    execFileSync('tar', ['-C', tree, '-xf', tar, '--no-same-owner'], { stdio: QUIET });
    return [path, tree, out, ...flags];
  };
  return [
    variant('mksquashfsTar', 'mksquashfs -comp zstd, from the tar', {
      argv: [path, '-', out, '-tar', ...flags],
      before: () => openSync(tar, 'r'),
      after: (descriptor) => {
        closeSync(descriptor);
        rmSync(out, { force: true });
      },
    }),
    variant('mksquashfs', 'mksquashfs -comp zstd, from a folder', missing ? {} : { argv: unpack() }),
  ];
}

function nydus(context, tar) {
  const { path, missing } = context.peers.nydusImage;
  const [key, label] = ['nydus', 'nydus-image create -t tar-rafs, v6, zstd'];
  if (missing) return { key, label, skip: missing };
  const out = context.inputs.scratch('out-nydus');
  const kind = ['create', '-t', 'tar-rafs', '--fs-version', '6', '--compressor', 'zstd'];
  return {
    key,
    label,
    rounds: 2,
    argv: [path, ...kind, '--blob', `${out}.blob`, '--bootstrap', `${out}.boot`, '--log-level', 'error', tar],
    before() {
      for (const ending of ['blob', 'boot']) rmSync(`${out}.${ending}`, { force: true });
    },
    result: () => ({ bytes: statSync(`${out}.blob`).size + statSync(`${out}.boot`).size }),
  };
}

function estargz(context, tar) {
  const { path, missing } = context.peers.estargz;
  const [key, label] = ['estargz', 'eStargz (Go, its defaults: gzip level 9)'];
  const slow =
    context.megabytes > 100 &&
    !context.long &&
    'it takes minutes at its defaults (--size 100 or --long runs it)';
  if (slow || missing) return { key, label, skip: slow || missing };
  return {
    key,
    label,
    rounds: 1,
    argv: [path, tar, context.inputs.scratch('out.esgz')],
    result: (output) => ({ bytes: JSON.parse(output).bytes_out }),
  };
}
