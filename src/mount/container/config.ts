import { cpus } from 'node:os';
import type { ContainerResources } from './limits';
import type { ContainerSettings } from './settings';
import type { ContainerUser } from './user';
import { seccompFilter } from './seccomp';

/** What a container's config needs besides the image's own settings. */
interface ContainerParts {
  settings: ContainerSettings;
  user: ContainerUser;
  /** Absolute path of the mounted image. */
  rootfs: string;
  hostname: string;
  /** Whether the process gets a terminal of its own. */
  terminal: boolean;
  /** Null of a container without limits. */
  limits?: ContainerResources | null;
}

/**
 * Docker's defaults without CAP_MKNOD: nothing else keeps a container from the machine's disks, since it runs without a
 * cgroup where cgroups can't be written.
 */
const capabilities = [
  ...['CHOWN', 'DAC_OVERRIDE', 'FSETID', 'FOWNER', 'NET_RAW', 'SETGID', 'SETUID', 'SETFCAP', 'SETPCAP'],
  ...['NET_BIND_SERVICE', 'SYS_CHROOT', 'KILL', 'AUDIT_WRITE'],
].map((name) => `CAP_${name}`);

/** Where programs are looked for when the image does not say. */
export const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Files of the kernel that tell of, or change, the machine (as Docker hides them). */
const maskedPaths = [
  ...['/proc/acpi', '/proc/asound', '/proc/interrupts', '/proc/kcore', '/proc/keys', '/proc/latency_stats'],
  ...['/proc/sched_debug', '/proc/scsi', '/proc/timer_list', '/proc/timer_stats'],
  ...['/sys/devices/virtual/powercap', '/sys/firmware'],
  ...cpus().map((_, number) => `/sys/devices/system/cpu/cpu${number}/thermal_throttle`),
];
const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

const devMount = ['nosuid', 'noexec'];
const mounts = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: [...devMount, 'newinstance', 'ptmxmode=0666', 'mode=0620'],
  },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: [...devMount, 'nodev', 'mode=1777', 'size=65536k'],
  },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: [...devMount, 'nodev'] },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
];

/**
 * The config.json of a container (OCI runtime specification 1.0.2): namespaces of its own for everything but users and
 * cgroups, so its network is a loopback device only; no new privileges; Docker's seccomp filter. The runtime makes a session keyring.
 */
export function containerConfig(parts: ContainerParts): object {
  const { settings, user, rootfs, hostname, terminal, limits = null } = parts;
  const { uid, gid, additionalGids } = user;
  return {
    ociVersion: '1.0.2',
    process: {
      terminal,
      user: { uid, gid, additionalGids },
      args: settings.args,
      env: withDefaults(settings.env, user, terminal),
      cwd: settings.cwd,
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: true,
    },
    root: { path: rootfs, readonly: false },
    hostname,
    mounts,
    linux: {
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
      maskedPaths,
      readonlyPaths,
      ...limits,
      seccomp: seccompFilter({ arch: process.arch, capabilities }),
    },
  };
}

function withDefaults(env: readonly string[], { home }: ContainerUser, terminal: boolean): string[] {
  const defaults = [`PATH=${defaultPath}`, `HOME=${home}`, ...(terminal ? ['TERM=xterm'] : [])];
  const has = (variable: string): boolean => {
    const name = variable.slice(0, variable.indexOf('=') + 1);
    return env.some((known) => known.startsWith(name));
  };
  return [...env, ...defaults.filter((variable) => !has(variable))];
}
