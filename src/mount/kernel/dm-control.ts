import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, open, type FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { failure, fromSystemError } from '../../errors';
import { native } from '../../native/binding';
import {
  answeredMinor,
  answeredTargets,
  answeredText,
  answeredUuid,
  dmFlag,
  dmMessage,
  dmRequest,
  type DmMessage,
} from './dm-verity';
import { call, errno, errnoOf } from './system-call';

const path = '/dev/mapper/control';
/** Enough for the status of one target, and for the names of all. */
const answerRoom = 16 << 10;

/** Why the kernel can't check blocks as they are read; null when it can. Loads the module if need be, as root. */
export async function whyNoDmVerity(): Promise<string | null> {
  // The kernel loads dm-verity for a table that names it, but nothing loads device-mapper where udev's static nodes are missing.
  const isLoaded = await access('/sys/module/dm_verity').then(
    () => true,
    () => false,
  );
  if (!isLoaded) await promisify(execFile)('modprobe', ['-q', 'dm-verity']).catch(() => undefined);
  try {
    const targets = await withDm((dm) => Promise.resolve(dm.targets()));
    return targets.includes('verity') ? null : 'device-mapper has no target "verity"';
  } catch (error) {
    return `${path}: ${fromSystemError(path, error).why}`;
  }
}

/** Runs `use` with device-mapper's control device open. */
export async function withDm<T>(use: (dm: DeviceMapper) => Promise<T>): Promise<T> {
  const control = await open(path, constants.O_RDWR).catch((error: unknown) => {
    throw fromSystemError(path, error);
  });
  try {
    return await use(new DeviceMapper(control));
  } finally {
    await control.close();
  }
}

/** What came of removing a device. */
export type Removal = 'removed' | 'deferred' | 'absent';

/** Device-mapper, one call a method. */
export class DeviceMapper {
  constructor(private readonly control: FileHandle) {}

  targets(): string[] {
    return answeredTargets(this.send('device-mapper', dmRequest.listVersions, { room: answerRoom }));
  }

  /** The path of the new device; null when the name or the UUID is taken. */
  create(name: string, uuid: string): string | null {
    try {
      const answer = this.sendBare(dmRequest.create, { name, uuid, flags: dmFlag.readOnly });
      return `/dev/dm-${answeredMinor(answer)}`;
    } catch (error) {
      if (errnoOf(error) === errno.EBUSY) return null;
      return call(name, () => {
        throw error;
      });
    }
  }

  loadTable(name: string, target: NonNullable<DmMessage['target']>): void {
    this.send(
      name,
      dmRequest.loadTable,
      { name, flags: dmFlag.readOnly, target },
      'the reason is in the kernel log: dmesg',
    );
  }

  resume(name: string): void {
    this.send(name, dmRequest.suspend, { name });
  }

  /** The target's state: "V" while every block that was read was right, "C" after one that was not. */
  status(name: string): string {
    return answeredText(this.send(name, dmRequest.tableStatus, { name, room: answerRoom }));
  }

  /** The path of the device with this UUID; null when there is none. */
  find(uuid: string): string | null {
    const answer = this.ifThere(() => this.sendBare(dmRequest.status, { uuid }));
    return answer && `/dev/dm-${answeredMinor(answer)}`;
  }

  /** The UUID of the device of this name; null when there is none. */
  uuidOf(name: string): string | null {
    const answer = this.ifThere(() => this.sendBare(dmRequest.status, { name }));
    return answer && answeredUuid(answer);
  }

  /** Removes the device with this UUID, as soon as its last user lets go of it. */
  remove(uuid: string): Removal {
    const remove = (flags: number): Removal => {
      const answer = this.ifThere(() => this.sendBare(dmRequest.remove, { uuid, flags }));
      if (answer === null) return 'absent';
      return flags === 0 ? 'removed' : 'deferred';
    };
    try {
      return remove(0);
    } catch (error) {
      if (errnoOf(error) !== errno.EBUSY) throw failure('IO', uuid, (error as Error).message);
      return call(uuid, () => remove(dmFlag.deferredRemove));
    }
  }

  private ifThere<T>(run: () => T): T | null {
    try {
      return run();
    } catch (error) {
      if (errnoOf(error) === errno.ENXIO) return null;
      throw error;
    }
  }

  private send(what: string, request: number, message: DmMessage, hint?: string): Buffer {
    return call(what, () => this.sendBare(request, message), hint);
  }

  private sendBare(request: number, message: DmMessage): Buffer {
    const bytes = dmMessage(message);
    native.sys.ioctl(this.control.fd, request, bytes);
    return bytes;
  }
}
