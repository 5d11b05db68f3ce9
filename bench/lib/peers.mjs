// Other programs that do what ours does, where they are installed. Each is `{path}` or `{missing}`, the reason.
//   mksquashfs   apt install squashfs-tools
//   nydus-image  on PATH, in $NYDUS_IMAGE, or built by --build-peers (Rust, some minutes)
//   containerd   in $CONTAINERD_BIN, or built by test/e2e/containerd.mjs or --build-peers (Go, some minutes)
//   eStargz      bench/estargz, built when it is asked for
//   stargz, SOCI lib/snapshotters.mjs
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  installContainerd,
  missingForContainerd,
  startContainerd,
} from '../../test/e2e/support/containerd-daemon.mjs';
import { buildGo, which } from './programs.mjs';
import { findSoci, findStargz } from './snapshotters.mjs';

const NYDUS = '2.2.0'; // of the crate nydus-rs

export class Peers {
  #context;
  #builds;

  constructor(context) {
    this.#context = context;
    this.#builds = context.options['build-peers'] === true;
  }

  get mksquashfs() {
    return found(which('mksquashfs'), 'mksquashfs is not installed (apt install squashfs-tools)');
  }

  get nydusImage() {
    const installed = process.env.NYDUS_IMAGE || which('nydus-image');
    const root = join(this.#context.directory, 'nydus');
    const built = join(root, 'bin', 'nydus-image');
    if (!installed && !existsSync(built) && this.#builds) {
      const install = [
        'install',
        'nydus-rs',
        '--version',
        NYDUS,
        '--locked',
        '--bin',
        'nydus-image',
        '--root',
        root,
      ];
      execFileSync('cargo', install, { stdio: 'inherit' });
    }
    return found(
      installed || (existsSync(built) && built),
      'nydus-image is not installed (--build-peers builds it)',
    );
  }

  get estargz() {
    return buildGo(this.#context.directory, 'estargz');
  }

  get stargz() {
    return findStargz(this.#context.directory, this.#builds);
  }

  get soci() {
    return findSoci(this.#context.directory, this.#builds);
  }

  /** The folder of containerd's programs. */
  get containerdPrograms() {
    const missing = process.getuid() !== 0 ? 'containerd needs root' : this.#containerdMissing();
    return missing ? { missing } : { path: installContainerd() };
  }

  #containerdMissing() {
    if (this.#builds) return missingForContainerd();
    const caches = readdirSync(process.env.XDG_CACHE_HOME || tmpdir());
    const built = caches.some(
      (name) => name.startsWith('seekable-erofs-containerd-') && name.endsWith(`-${process.getuid()}`),
    );
    return process.env.CONTAINERD_BIN || built
      ? null
      : 'containerd is not installed (--build-peers builds it)';
  }

  /** Starts a containerd whose ctr finds mkfs.erofs: `{ctr(args), env, stop()}`, or `{missing}`. */
  async containerd() {
    const { mkfs, mkfsMissing } = this.#context;
    const { path: bin, missing } = mkfsMissing ? { missing: mkfsMissing } : this.containerdPrograms;
    if (missing) return { missing };
    const directory = mkdtempSync(join(tmpdir(), 'se-bench-')); // short: a socket's path has at most 107 bytes
    try {
      const daemon = await startContainerd({ bin, directory });
      const end = () => endProcessesOf(directory);
      process.once('exit', end);
      const tools = join(directory, 'tools');
      mkdirSync(tools);
      symlinkSync(existsSync(mkfs) ? mkfs : which(mkfs), join(tools, 'mkfs.erofs'));
      return {
        ctr: (...args) => [
          join(bin, 'ctr'),
          '--address',
          join(directory, 'socket'),
          '--namespace',
          'bench',
          ...args,
        ],
        env: { PATH: `${tools}:${process.env.PATH}` },
        async stop() {
          process.off('exit', end);
          await daemon.stop();
          rmSync(directory, { recursive: true, force: true });
        },
      };
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      return { missing: error.message.split('\n')[0] };
    }
  }
}

/** Ends the daemon that was started with a configuration in `directory`, and removes that: for an interrupted run. */
function endProcessesOf(directory) {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(join(directory, 'config.toml')))
        process.kill(Number(pid));
    } catch {
      // It has ended meanwhile.
    }
  }
  rmSync(directory, { recursive: true, force: true });
}

const found = (path, missing) => (path ? { path } : { missing });

/** Runs bench/jobs/serve.mjs for a file: `{url, stop()}`. */
export async function serve(context, path) {
  const [program, ...args] = context.job('serve', path);
  const server = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const end = () => server.kill();
  process.once('exit', end);
  const [line] = await once(server.stdout, 'data');
  return {
    url: `http://127.0.0.1:${Number(line.toString())}/blob`,
    async stop() {
      process.off('exit', end);
      server.kill();
      await once(server, 'exit');
    },
  };
}
