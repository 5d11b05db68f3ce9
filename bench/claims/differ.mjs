// Claim: containerd's erofs snapshotter gets a layer with every check and its dm-verity tree sooner by our differ than by its own without them.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { startContainerd } from '../../test/e2e/support/containerd-daemon.mjs';
import { coldFolder } from '../lib/cold.mjs';
import { inputFile } from '../lib/contestants.mjs';
import { OurState } from '../lib/lazy-ours.mjs';
import { comesUp } from '../lib/ports.mjs';

export const title =
  'differ: a blob in containerd → a layer of its erofs snapshotter; ours with dm-verity and every check, its own without';

const NAME = 'example.test/layer:1';
const TICKS = 100; // USER_HZ

export async function* cases(context) {
  const { path: bin, missing } = context.peers.containerdPrograms;
  if (missing) {
    console.log(`  skipped: ${missing}`);
    return;
  }
  const archive = await archived(context);
  const state = new OurState(context);
  state.renew();
  const socket = state.at('differ.sock');
  await state.serve('--differ', socket);
  await comesUp({ path: socket });
  const extra = `[proxy_plugins.ours]\n  type = 'diff'\n  address = '${socket}'\n`;
  const daemons = [];
  try {
    const ours = await Daemon.start(bin, archive, { extra, differs: ['ours'] });
    daemons.push(ours);
    const stock = await Daemon.start(bin, archive, { differs: ['erofs'] });
    daemons.push(stock);
    yield {
      name: 'differ',
      input: inputFile('blob with its tree', ours.blob),
      contestants: [
        ours.contestant('ours', 'our proxy differ, dm-verity, every check', {
          server: state,
          check: expectTree,
        }),
        stock.contestant('stock', "containerd 2.4.2's own erofs differ, no dm-verity"),
      ],
    };
  } finally {
    for (const daemon of daemons) daemon.stop();
    state.clear();
  }
}

/** The image of one layer, as `ctr images import` takes it. */
async function archived(context) {
  const { path } = await context.inputs.layout([context.inputs.tar()], 'none');
  const archive = context.inputs.scratch('differ.tar');
  const flags = ['--dm-verity', '--quiet'];
  const [program, ...args] = context.ours([
    'convert',
    `oci:${path}`,
    `oci-archive:${archive}:${NAME}`,
    ...flags,
  ]);
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  return archive;
}

function expectTree(layer) {
  if (statSync(`${layer}.dmverity`).size === 0) throw new Error(`${layer} has no tree`);
}

/** What daemons have used so far: those that were started with a path in one of these folders. */
function usage(folders) {
  const own = folders.map((folder) => join(folder, '/'));
  const processes = readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      if (!own.some((folder) => command.includes(folder))) return [];
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      const ticks = Number(fields[11]) + Number(fields[12]); // utime, stime: proc_pid_stat(5)
      return { ticks, peak: Number(/VmHWM:\s*(\d+)/.exec(status)[1]) };
    } catch {
      return []; // it has ended meanwhile
    }
  });
  return {
    cpuSeconds: processes.reduce((sum, { ticks }) => sum + ticks, 0) / TICKS,
    peakRssMiB: Math.max(...processes.map(({ peak }) => peak)) / 1024,
  };
}

/** containerd with an image that is not unpacked. */
class Daemon {
  #folder = coldFolder();

  static async start(bin, archive, configuration) {
    const daemon = new Daemon(bin);
    daemon.#folder.renew();
    await startContainerd({ bin, directory: daemon.#folder.path, ...configuration });
    daemon.#ctr('images', 'import', '--local', '--no-unpack', archive);
    return daemon;
  }

  constructor(bin) {
    this.command = [join(bin, 'ctr'), '--address', this.#folder.at('socket')];
  }

  /** The largest blob that it has. */
  get blob() {
    const blobs = this.#folder.at('root/io.containerd.content.v1.content/blobs/sha256');
    const paths = readdirSync(blobs).map((name) => join(blobs, name));
    return paths.sort((a, b) => statSync(b).size - statSync(a).size)[0];
  }

  contestant(key, label, { server, check = () => undefined } = {}) {
    const folders = [this.#folder.path, server?.at('')].filter(Boolean);
    const [, digest] = this.#ctr('images', 'list').split('\n')[1].split(/\s+/).slice(1);
    const snapshots = ['snapshots', '--snapshotter', 'erofs'];
    const argv = [...this.command, ...snapshots, 'unpack', digest];
    const remove = () => {
      const [, name] = this.#ctr(...snapshots, 'list').split('\n');
      if (name) this.#ctr(...snapshots, 'remove', name.split(/\s+/)[0]);
    };
    let used;
    return {
      key,
      label,
      argv,
      before: () => {
        remove();
        used = usage(folders);
      },
      result: () => {
        const { cpuSeconds, peakRssMiB } = usage(folders);
        const layer = this.#layer();
        check(layer);
        return { bytes: statSync(layer).size, cpuSeconds: cpuSeconds - used.cpuSeconds, peakRssMiB };
      },
      after: remove,
    };
  }

  stop() {
    this.#folder.clear();
  }

  #layer() {
    const snapshots = this.#folder.at('root/io.containerd.snapshotter.v1.erofs/snapshots');
    const [id] = readdirSync(snapshots);
    return join(snapshots, id, 'layer.erofs');
  }

  #ctr(...args) {
    const [program, ...rest] = [...this.command, ...args];
    return execFileSync(program, rest, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  }
}
