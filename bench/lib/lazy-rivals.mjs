// Contestants of the claim `lazy` that go through stock containerd: its own snapshotters, stargz and SOCI.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startContainerd } from '../../test/e2e/support/containerd-daemon.mjs';
import { coldFolder, dropCaches } from './cold.mjs';
import { quoted, which } from './programs.mjs';

const LONGEST = 600_000;
/** Seconds that stargz watches a container for what it reads. */
const RECORDED = 8;
const QUIET = ['ignore', 'ignore', 'pipe'];
const throughContainerd = 'goes through containerd (pull, unpacking, its shim), which ours does not';

/** What each rival is, and the tag of the image that it takes. */
const RIVALS = [
  { key: 'overlayfs', label: 'containerd 2.4.2, overlayfs, tar.gz', tag: 'tar', snapshotter: 'overlayfs' },
  {
    key: 'erofs',
    label: 'containerd 2.4.2, erofs, our blobs, eagerly',
    tag: 'ours-4MiB',
    snapshotter: 'erofs',
  },
  { key: 'stargz', label: 'stargz, zstd:chunked', tag: 'stargz', snapshotter: 'stargz' },
  {
    key: 'stargzRecorded',
    label: 'stargz, zstd:chunked, with recorded accesses',
    tag: 'stargz-recorded',
    snapshotter: 'stargz',
  },
  { key: 'soci', label: 'SOCI v2', tag: 'soci', snapshotter: 'soci' },
];

/** Contestants for a cold start of `image` (`{repository, program}`), over `network`. */
export function rivals(context, registry, image, network) {
  return RIVALS.map(({ key, label, tag, snapshotter }) => {
    const programs = programsFor(context.peers, snapshotter);
    if (programs.missing) return { key, label, skip: programs.missing };
    const daemon = new ColdContainerd(programs, registry);
    const reference = `${registry.slowHost}/${image.repository}:${tag}`;
    return {
      key,
      label,
      note: throughContainerd,
      argv: context.job('first-output', 'sh', '-c', daemon.script(reference, { snapshotter }, image.program)),
      async before() {
        if (!(await registry.has(image.repository, tag))) await makeImage(daemon, registry, image, tag);
        daemon.renew();
        await daemon.start(snapshotter);
        dropCaches(daemon.files);
        await registry.setNetwork(network);
      },
      result: async (output) => ({ ...JSON.parse(output), traffic: await registry.counts() }),
      after: () => daemon.stop(),
    };
  });
}

/** `{containerd, stargz, soci}`: folders of the programs that a snapshotter needs; or `{missing}`. */
export function programsFor(peers, snapshotter) {
  const found = { containerd: peers.containerdPrograms };
  if (snapshotter === 'stargz' || snapshotter === 'soci') {
    found.stargz = peers.stargz; // SOCI's images are pulled by stargz's client
    if (snapshotter === 'soci') found.soci = peers.soci;
  }
  const missing = Object.values(found).find((program) => program.missing)?.missing;
  if (missing) return { missing };
  return Object.fromEntries(Object.entries(found).map(([name, { path }]) => [name, path]));
}

/** containerd with nothing in it, and a snapshotter beside it. */
export class ColdContainerd {
  #folder = coldFolder();

  constructor(programs, registry) {
    this.programs = programs;
    this.registry = registry;
  }

  get ctr() {
    return [join(this.programs.containerd, 'ctr'), '--address', this.#folder.at('socket')];
  }

  get ctrRemote() {
    const { stargz, containerd } = this.programs;
    const program = stargz === undefined ? join(containerd, 'ctr') : join(stargz, 'ctr-remote');
    return [program, '--address', this.#folder.at('socket')];
  }

  /** The files of its programs. */
  get files() {
    return [...Object.values(this.programs), which('runc')];
  }

  /** Nothing is there any more. */
  renew() {
    this.#folder.renew();
  }

  /** `extra` is more of containerd's configuration. */
  async start(snapshotter, extra = this.#snapshotters()) {
    const directory = this.#folder.path;
    if (snapshotter === 'stargz' || snapshotter === 'soci') await this.#startSnapshotter(snapshotter);
    await startContainerd({ bin: this.programs.containerd, directory, extra });
  }

  #snapshotters() {
    const plugin = (name) =>
      `[proxy_plugins.${name}]\n  type = 'snapshot'\n  address = '${this.path(`${name}.sock`)}'\n`;
    return ['stargz', 'soci'].map(plugin).join('');
  }

  stop() {
    this.#folder.clear();
  }

  /** A path in its folder. */
  path(name) {
    return this.#folder.at(name);
  }

  /** A pull and a run. */
  script(reference, { snapshotter, pullFlags = [] }, command) {
    const lazily = {
      stargz: ['images', 'rpull', '--plain-http'],
      soci: ['images', 'rpull', '--plain-http', '--snapshotter', 'soci', '--use-containerd-labels'],
    }[snapshotter];
    const eagerly = ['images', 'pull', '--plain-http', ...pullFlags, '--snapshotter', snapshotter];
    const pull = lazily ? [...this.ctrRemote, ...lazily] : [...this.ctr, ...eagerly];
    const start = [...this.ctr, 'run', '--rm', '--snapshotter', snapshotter, reference, 'cold', ...command];
    return `${quoted([...pull, reference])} >&2 && exec ${quoted(start)}`;
  }

  async #startSnapshotter(name) {
    const [configuration, socket] = [this.#folder.at(`${name}.toml`), this.#folder.at(`${name}.sock`)];
    const { slowHost } = this.registry;
    const host = name === 'stargz' ? slowHost : `http://${slowHost}`;
    const head = name === 'stargz' ? 'noprometheus = true\n' : '';
    writeFileSync(
      configuration,
      `${head}[[resolver.host."${slowHost}".mirrors]]\nhost = "${host}"\ninsecure = true\n`,
    );
    const program =
      name === 'stargz'
        ? join(this.programs.stargz, 'containerd-stargz-grpc')
        : join(this.programs.soci, 'soci-snapshotter-grpc');
    const args = ['--address', socket, '--config', configuration, '--root', this.#folder.at(`${name}-root`)];
    spawn(program, args, { stdio: 'ignore' }).unref();
    for (let i = 0; i < 100 && !existsSync(socket); i++) await sleep(100);
  }
}

/** Makes what a rival takes of the tar image, which is there; it stays in the registry. */
async function makeImage(daemon, registry, { repository, program }, tag) {
  daemon.renew();
  await daemon.start('overlayfs');
  try {
    const [source, target] = ['tar', tag].map((name) => `${registry.host}/${repository}:${name}`);
    run([...daemon.ctr, 'content', 'fetch', '--plain-http', source]);
    run(conversion(daemon, tag, program, source, target));
    run([...daemon.ctr, 'images', 'push', '--plain-http', target]);
  } finally {
    daemon.stop();
  }
}

function conversion(daemon, tag, [program, ...args], source, target) {
  const images = [...daemon.ctrRemote, 'images'];
  if (tag === 'stargz') return [...images, 'convert', '--oci', '--zstdchunked', source, target];
  if (tag === 'stargz-recorded') {
    const entry = ['--entrypoint', JSON.stringify([program]), '--args', JSON.stringify(args), '--net-host'];
    const how = ['--oci', '--zstdchunked', '--period', String(RECORDED), ...entry];
    return [...images, 'optimize', ...how, source, target];
  }
  const place = ['--address', daemon.path('socket'), '--content-store', 'containerd'];
  return [
    join(daemon.programs.soci, 'soci'),
    ...place,
    '--root',
    daemon.path('soci-root'),
    'convert',
    source,
    target,
  ];
}

function run([program, ...args]) {
  execFileSync(program, args, { stdio: QUIET, timeout: LONGEST });
}
