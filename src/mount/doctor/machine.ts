import { constants, type PathLike } from 'node:fs';
import { access, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';

/** How the kernel has a feature: built in, as a module that is loaded when it is needed, or not; null when nothing tells. */
export type KernelFeature = 'built in' | 'module' | 'absent' | null;

/** A configuration is some 300 kB. */
const maxConfigSize = 16 << 20;

/** What can be known of a machine without changing it; `root` is `/` but in tests. */
export class Machine {
  /** Of the kernel, e.g. `6.12.41-amd64`. */
  readonly release: string;

  private constructor(
    private readonly root: string,
    release: string,
    private readonly config: ReadonlyMap<string, string> | null,
    private readonly moduleNames: { loadable: ReadonlySet<string>; builtIn: ReadonlySet<string> },
  ) {
    this.release = release;
  }

  static async open(root = '/'): Promise<Machine> {
    const read = (path: string): Promise<string> => readFile(join(root, path), 'utf8').catch(() => '');
    const release = (await read('/proc/sys/kernel/osrelease')).trim();
    const folder = `/lib/modules/${release}`;
    const names = {
      loadable: moduleNames(await read(`${folder}/modules.dep`)),
      builtIn: moduleNames(await read(`${folder}/modules.builtin`)),
    };
    return new Machine(root, release, await readConfig(root, release), names);
  }

  /** The text of a file; empty when it can't be read. */
  read(path: string): Promise<string> {
    return readFile(join(this.root, path), 'utf8').catch(() => '');
  }

  async exists(path: string): Promise<boolean> {
    return access(join(this.root, path), constants.F_OK).then(
      () => true,
      () => false,
    );
  }

  /** Opens a device for reading and writing, and closes it: null when that works, else the error's code. */
  async tryDevice(path: string): Promise<string | null> {
    const file: PathLike = join(this.root, path);
    try {
      await (await open(file, constants.O_RDWR | constants.O_NONBLOCK)).close();
      return null;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'EIO';
    }
  }

  /** Whether the kernel is at least `major.minor`. */
  isAtLeast(major: number, minor: number): boolean {
    const [, ownMajor = 0, ownMinor = 0] = /^(\d+)\.(\d+)/.exec(this.release) ?? [];
    return Number(ownMajor) > major || (Number(ownMajor) === major && Number(ownMinor) >= minor);
  }

  /** How the kernel has what its configuration calls `option`, and the module (if it may be one) `module`. */
  async feature(option: string, module?: string): Promise<KernelFeature> {
    if (module !== undefined) {
      const name = normalized(module);
      if (this.moduleNames.builtIn.has(name)) return 'built in';
      if (this.moduleNames.loadable.has(name)) return 'module';
      if (await this.exists(`/sys/module/${name}`)) return 'built in';
    }
    if (this.config === null) return null;
    const value = this.config.get(option) ?? 'n';
    if (value === 'y') return 'built in';
    // A module that has no file here may still be one that the host of this container loads.
    return value === 'm' ? null : 'absent';
  }
}

async function readConfig(root: string, release: string): Promise<Map<string, string> | null> {
  const packed = await readFile(join(root, '/proc/config.gz')).catch(() => null);
  if (packed !== null) {
    const text = await promisify(gunzip)(packed, { maxOutputLength: maxConfigSize }).catch(() => null);
    if (text !== null) return parseConfig(text.toString('latin1'));
  }
  for (const path of [`/boot/config-${release}`, `/lib/modules/${release}/config`]) {
    const text = await readFile(join(root, path), 'latin1').catch(() => null);
    if (text !== null) return parseConfig(text);
  }
  return null;
}

/** Options that are not set are comments, and so absent. */
function parseConfig(text: string): Map<string, string> {
  return new Map([...text.matchAll(/^CONFIG_(\w+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]));
}

/** The names in `modules.dep` (before the colon) or `modules.builtin`. */
function moduleNames(text: string): Set<string> {
  return new Set([...text.matchAll(/^[^:\n]*?([^/:\n]+)\.ko\b/gm)].map(([, name]) => normalized(name!)));
}

/** The kernel makes no difference between the two dashes. */
function normalized(module: string): string {
  return module.replaceAll('-', '_');
}
