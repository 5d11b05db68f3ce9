import { failure } from '../../errors';
import { parseDigest } from '../../format/digest';
import type { VeritySuperblock } from '../../format/verity-superblock';

/*
 * Device-mapper's messages (linux/dm-ioctl.h). struct dm_ioctl, 312 bytes:
 *   0 version u32 × 3   12 size of all u32   16 start of the data u32   20 targets u32   24 open count s32   28 flags u32
 *   40 device u64   48 name, 128 bytes   176 UUID, 129 bytes
 * struct dm_target_spec, 40 bytes, then its text: 0 first sector u64   8 sectors u64   16 status s32   20 next u32   24 type, 16 bytes
 */
const headSize = 312;
const targetSize = 40;
const nameAt = 48;
const nameSize = 128;
const uuidAt = 176;
const uuidSize = 129;
const sectorSize = 512;

const ioctlBase = 0xc138_fd00; // _IOWR(0xfd, 0, 312 bytes)

/** The request numbers. */
export const dmRequest = {
  create: ioctlBase + 3,
  remove: ioctlBase + 4,
  suspend: ioctlBase + 6,
  status: ioctlBase + 7,
  loadTable: ioctlBase + 9,
  tableStatus: ioctlBase + 12,
  listVersions: ioctlBase + 13,
} as const;

/** Flags of a message. */
export const dmFlag = { readOnly: 1 << 0, statusTable: 1 << 4, deferredRemove: 1 << 17 } as const;

/** What dm-verity needs to know of a layer. */
export interface VerityDevice {
  superblock: Pick<
    VeritySuperblock,
    'algorithm' | 'dataBlockSize' | 'hashBlockSize' | 'dataBlocks' | 'salt' | 'uuid'
  >;
  /** `sha512:…`, from the descriptor or the sidecar. */
  rootDigest: string;
  /** Where the root level of the tree begins in the device, in bytes. */
  treeOffset: number;
}

/** A message's fields; those that are not given are 0 or empty. A device is named by its name or its UUID, both only when it is created. */
export interface DmMessage {
  name?: string | undefined;
  uuid?: string | undefined;
  flags?: number | undefined;
  target?: { type: string; sectors: number; parameters: string } | undefined;
  /** Bytes for the kernel's answer. */
  room?: number | undefined;
}

/** The bytes of a message. */
export function dmMessage({ name = '', uuid = '', flags = 0, target, room = 0 }: DmMessage): Buffer {
  const data = target === undefined ? Buffer.alloc(room) : targetBytes(target);
  const head = Buffer.alloc(headSize);
  head.writeUInt32LE(4, 0); // version 4.0.0
  head.writeUInt32LE(headSize + data.length, 12);
  head.writeUInt32LE(headSize, 16);
  head.writeUInt32LE(target === undefined ? 0 : 1, 20);
  head.writeUInt32LE(flags, 28);
  writeText(head, name, nameAt, nameSize);
  writeText(head, uuid, uuidAt, uuidSize);
  return Buffer.concat([head, data]);
}

function targetBytes({ type, sectors, parameters }: NonNullable<DmMessage['target']>): Buffer {
  const spec = Buffer.alloc(targetSize);
  spec.writeBigUInt64LE(BigInt(sectors), 8);
  writeText(spec, type, 24, 16);
  return Buffer.concat([spec, Buffer.from(`${parameters}\0`)]);
}

function writeText(bytes: Buffer, text: string, at: number, size: number): void {
  if (Buffer.byteLength(text) >= size) throw failure('USAGE', text, `longer than ${size - 1} bytes`);
  bytes.write(text, at);
}

/** The device number that the kernel's answer has (huge_encode_dev in the kernel). */
export function answeredMinor(answer: Buffer): number {
  const device = answer.readUInt32LE(40);
  return (device & 0xff) | ((device >>> 12) & 0xfff00);
}

/** The UUID of the device in the kernel's answer; empty when it has none. */
export function answeredUuid(answer: Buffer): string {
  return answer.toString('latin1', uuidAt, answer.indexOf(0, uuidAt));
}

/** The text of the first target in the kernel's answer to tableStatus. */
export function answeredText(answer: Buffer): string {
  const start = answer.readUInt32LE(16) + targetSize;
  const end = answer.indexOf(0, start);
  return answer.toString('latin1', start, end < 0 ? answer.length : end);
}

/** The names of targets in the kernel's answer to listVersions: `next u32, version u32 × 3, name`, one after the other. */
export function answeredTargets(answer: Buffer): string[] {
  const names: string[] = [];
  for (let at = answer.readUInt32LE(16), next = 1; next > 0 && at + 16 < answer.length; at += next) {
    next = answer.readUInt32LE(at);
    const end = answer.indexOf(0, at + 16);
    names.push(answer.toString('latin1', at + 16, end < 0 ? answer.length : end));
  }
  return names;
}

/**
 * The target of a layer whose data and tree are in one block device (kernel: Documentation/admin-guide/device-mapper/verity.rst).
 * @param extra optional arguments, by the word
 */
export function verityTarget(
  { superblock, rootDigest, treeOffset }: VerityDevice,
  device: string,
  extra: readonly string[],
): { type: 'verity'; sectors: number; parameters: string } {
  const { algorithm, dataBlockSize, hashBlockSize, dataBlocks, salt } = superblock;
  if (treeOffset % hashBlockSize !== 0) {
    const why = `it begins at byte ${treeOffset}, in the middle of a block of ${hashBlockSize}`;
    throw failure('CORRUPT', 'dm-verity tree', why);
  }
  const words = [
    ...['1', device, device, dataBlockSize, hashBlockSize, dataBlocks, treeOffset / hashBlockSize],
    ...[algorithm, parseDigest(rootDigest).hex, Buffer.from(salt).toString('hex') || '-'],
    ...(extra.length === 0 ? [] : [extra.length, ...extra]),
  ];
  const sectors = (dataBlocks * dataBlockSize) / sectorSize;
  return { type: 'verity', sectors, parameters: words.join(' ') };
}

/** The optional arguments that a user gives as one text. USAGE for what can't be words of a table. */
export function verityArguments(text = '', checkAtMostOnce = false): string[] {
  const words = text.split(/[ \t]+/).filter((word) => word !== '');
  if (!words.every((word) => /^[\x21-\x7e]+$/.test(word))) {
    throw failure('USAGE', 'dm-verity options', 'only words of printable ASCII', 'e.g. "ignore_zero_blocks"');
  }
  const once = 'check_at_most_once';
  return checkAtMostOnce && !words.includes(once) ? [...words, once] : words;
}

/** Devices of earlier mounts, unmounted but with open files, may keep a name for long. */
export const maxNames = 256;

/** All names that the device of a layer may have got. */
export function deviceNamesOf(id: string): string[] {
  return Array.from({ length: maxNames }, (_, attempt) => deviceName(id, attempt));
}

function deviceName(id: string, attempt: number): string {
  return `seekable-erofs-${id}${attempt === 0 ? '' : `.${attempt}`}`;
}

/** Name and UUID of a device; `attempt` tells apart those that an earlier one, still in use somewhere, keeps from being the first. */
export function deviceNames(
  id: string,
  superblockUuid: Uint8Array,
  attempt: number,
): { name: string; uuid: string } {
  const name = deviceName(id, attempt);
  // The form that cryptsetup gives it, so that `veritysetup status` knows what it sees.
  return { name, uuid: `CRYPT-VERITY-${Buffer.from(superblockUuid).toString('hex')}-${name}` };
}
