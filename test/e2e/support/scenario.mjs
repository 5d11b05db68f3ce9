// Runs a scenario with containerd in namespaces of its own.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installContainerd, installCrictl, missingForContainerd } from './containerd-daemon.mjs';

/** With a minute for each server that is killed. */
const TIMEOUT = (10 + Number(process.env.KILLS ?? 0)) * 60_000;

/** What stands between this machine and the test, null if nothing does. */
export function missing() {
  if (process.platform !== 'linux' || process.getuid() !== 0) return 'needs root on Linux';
  const filesystems = readFileSync('/proc/filesystems', 'utf8');
  const absent = ['erofs', 'overlay'].filter((name) => !filesystems.includes(`\t${name}\n`));
  if (absent.length > 0) return `the kernel has no ${absent.join(' and no ')} (modprobe?)`;
  for (const program of ['runc', 'unshare', 'ldd', 'docker-registry']) {
    if (spawnSync(program, ['--help']).error) return `needs ${program}`;
  }
  // In a chroot, for one, this fails: its root is no mount.
  const probe = ['--mount', '--pid', '--fork', '--mount-proc', 'true'];
  const { status, stderr } = spawnSync('unshare', probe, { encoding: 'utf8' });
  if (status !== 0) return `no namespaces can be made here: ${stderr.trim()}`;
  return missingForContainerd();
}

/**
 * Runs a second copy of a script, `inside`, in mount and process namespaces of its own. However that ends, the kernel takes its mounts,
 * containers and daemons down with it.
 */
async function outside(script) {
  const bin = installContainerd();
  const noCrictl = installCrictl(bin) ?? '';
  const directory = mkdtempSync(join(tmpdir(), 'se-ctd-'));
  const groups = `seekable-e2e-${process.pid}`;
  try {
    const self = [process.execPath, script, '--inside', directory, bin, groups, noCrictl];
    const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const child = spawn('unshare', [...namespaces, '--', ...self], {
      stdio: 'inherit',
      timeout: TIMEOUT,
      killSignal: 'SIGKILL',
    });
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => child.kill('SIGKILL'));
    const [code] = await once(child, 'exit');
    return code ?? 1;
  } finally {
    await removeCgroups(groups);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** cgroups outlive a namespace: remove those whose names begin so, once their processes are gone. */
async function removeCgroups(prefix) {
  const mountLines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const mounts = mountLines.filter((line) => / - cgroup2? /.test(line)).map((line) => line.split(' ')[4]);
  for (const mount of mounts) {
    const names = readdirSync(mount).filter((name) => name.startsWith(prefix));
    for (const name of names) await removeCgroup(join(mount, name));
  }
}

async function removeCgroup(group) {
  const children = readdirSync(group, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const { name } of children) await removeCgroup(join(group, name));
  for (let attempt = 0; attempt < 50 && existsSync(group); attempt++) {
    try {
      rmdirSync(group);
    } catch (error) {
      if (error.code !== 'EBUSY') throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/**
 * Runs `inside(directory, bin, groups, noCrictl)` there, or prints why it can't: `directory` is removed afterwards, `bin` has containerd's
 * programs, names of cgroups begin with `groups`, and `noCrictl` says why there is no crictl, if there is none.
 * @param script the file that calls this
 */
export async function runScenario(script, inside) {
  if (process.argv[2] === '--inside') {
    await inside(...process.argv.slice(3));
    return;
  }
  const reason = missing();
  if (reason) console.log(`SKIP: ${reason}`);
  else process.exitCode = await outside(script);
}
