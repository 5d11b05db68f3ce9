import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { closeSync } from 'node:fs';
import { failure } from '../../errors';
import { native } from '../../native/binding';
import { call, errno, errnoOf } from './system-call';

const command = { setFlag: 0, setString: 1, create: 6 } as const;
const attribute = { readOnly: 1, noSuid: 2, noDev: 4 } as const;
/** fsconfig(2) takes 256 bytes with the NUL. */
const maxValue = 255;

/** One file system to be mounted, its parameters in order; those without a value are flags. */
export interface NewMount {
  type: string;
  parameters: (readonly [key: string, value?: string])[];
  readOnly: boolean;
}

/** Configures and creates a file system by the mount API of Linux 5.2 and mounts it, nosuid and nodev, at `target`; null: nowhere. */
export function mountFilesystem({ type, parameters, readOnly }: NewMount, target: string | null): void {
  const context = openContext(type);
  try {
    for (const [key, value] of parameters) {
      native.sys.fsconfig(
        context,
        value === undefined ? command.setFlag : command.setString,
        key,
        value ?? null,
      );
    }
    native.sys.fsconfig(context, command.create, null, null);
    if (target === null) return;
    const attributes = attribute.noSuid | attribute.noDev | (readOnly ? attribute.readOnly : 0);
    const mount = native.sys.fsmount(context, attributes);
    try {
      native.sys.moveMount(mount, target);
    } finally {
      closeSync(mount);
    }
  } finally {
    closeSync(context);
  }
}

function openContext(type: string): number {
  try {
    return native.sys.fsopen(type);
  } catch (error) {
    if (errnoOf(error) === errno.ENODEV) {
      throw failure('MACHINE', type, 'the kernel lacks this file system', `modprobe ${type}, as root`);
    }
    return call(type, () => {
      throw error;
    });
  }
}

/** Paths that fit a system call's limits, however long they are: `/proc/self/fd/N` stands for the long ones until close(). */
export class ShortPaths {
  private readonly handles: FileHandle[] = [];

  async shorten(path: string, isShort = Buffer.byteLength(path) <= maxValue): Promise<string> {
    if (isShort) return path;
    const handle = await open(path, constants.O_RDONLY);
    this.handles.push(handle);
    return `/proc/self/fd/${handle.fd}`;
  }

  async close(): Promise<void> {
    for (const handle of this.handles.splice(0)) await handle.close();
  }
}
