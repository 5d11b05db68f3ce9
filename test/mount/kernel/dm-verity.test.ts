import { describe, expect, test } from 'vitest';
import {
  answeredMinor,
  answeredTargets,
  answeredText,
  deviceNames,
  dmMessage,
  dmRequest,
  verityArguments,
  verityTarget,
} from '../../../src/mount/kernel/dm-verity';
import { refusal } from '../../support/refusal';

const superblock = {
  algorithm: 'sha512',
  dataBlockSize: 4096,
  hashBlockSize: 4096,
  dataBlocks: 300,
  salt: new Uint8Array(),
  uuid: Uint8Array.from({ length: 16 }, (_, i) => i),
} as const;
const rootDigest = `sha512:${'ab'.repeat(64)}`;
const device = { superblock, rootDigest, treeOffset: 301 * 4096 };

describe('messages to device-mapper', () => {
  test('request numbers are those of linux/dm-ioctl.h', () => {
    // As printed by a C program of DM_DEV_CREATE and the others.
    expect(dmRequest).toEqual({
      create: 0xc138fd03,
      remove: 0xc138fd04,
      suspend: 0xc138fd06,
      status: 0xc138fd07,
      loadTable: 0xc138fd09,
      tableStatus: 0xc138fd0c,
      listVersions: 0xc138fd0d,
    });
  });

  test('have the layout of struct dm_ioctl and struct dm_target_spec', () => {
    const target = { type: 'verity', sectors: 2400, parameters: '1 x' };
    const bytes = dmMessage({ name: 'n', uuid: 'u', flags: 1, target });
    expect(bytes.length).toBe(312 + 40 + 4);
    expect([0, 4, 8, 12, 16, 20, 28].map((at) => bytes.readUInt32LE(at))).toEqual([4, 0, 0, 356, 312, 1, 1]);
    expect(bytes.toString('latin1', 48, 50)).toBe('n\0');
    expect(bytes.toString('latin1', 176, 178)).toBe('u\0');
    expect(bytes.readBigUInt64LE(312)).toBe(0n);
    expect(bytes.readBigUInt64LE(320)).toBe(2400n);
    expect(bytes.toString('latin1', 336, 356)).toBe(`verity${'\0'.repeat(10)}1 x\0`);
  });

  test('refuse names that do not fit', () => {
    expect(dmMessage({ name: 'x'.repeat(127) }).length).toBe(312);
    expect(() => dmMessage({ name: 'x'.repeat(128) })).toThrow(refusal('USAGE'));
    expect(() => dmMessage({ uuid: 'x'.repeat(129) })).toThrow(refusal('USAGE'));
  });

  test('names of devices fit, and are of the form that veritysetup knows', () => {
    const id = '0'.repeat(40);
    const { name, uuid } = deviceNames(id, superblock.uuid, 255);
    expect(name).toBe(`seekable-erofs-${id}.255`);
    expect(uuid).toBe(`CRYPT-VERITY-000102030405060708090a0b0c0d0e0f-${name}`);
    expect(dmMessage({ name, uuid }).length).toBe(312);
    expect(deviceNames(id, superblock.uuid, 0).name).toBe(`seekable-erofs-${id}`);
  });
});

describe('answers of device-mapper', () => {
  test('a device number beyond 255', () => {
    const answer = dmMessage({});
    answer.writeUInt32LE((253 << 8) | 0x12 | (0x345 << 20), 40);
    expect(answeredMinor(answer)).toBe(0x34512);
  });

  test('a status', () => {
    const answer = dmMessage({ room: 100 });
    answer.write('V', 312 + 40);
    expect(answeredText(answer)).toBe('V');
    expect(answeredText(dmMessage({ room: 100 }))).toBe('');
  });

  test('the list of targets, also when it is cut', () => {
    const answer = dmMessage({ room: 64 });
    answer.writeUInt32LE(24, 312);
    answer.write('linear', 312 + 16);
    answer.write('verity', 312 + 24 + 16);
    expect(answeredTargets(answer)).toEqual(['linear', 'verity']);
    answer.writeUInt32LE(1_000_000, 312);
    expect(answeredTargets(answer)).toEqual(['linear']);
  });
});

describe('the target', () => {
  test('as the kernel documents it', () => {
    expect(verityTarget(device, '/dev/loop3', [])).toEqual({
      type: 'verity',
      sectors: 2400,
      parameters: `1 /dev/loop3 /dev/loop3 4096 4096 300 301 sha512 ${'ab'.repeat(64)} -`,
    });
  });

  test('with salt, small blocks and optional arguments, which are counted', () => {
    const small = { ...superblock, dataBlockSize: 512, hashBlockSize: 1024, salt: Uint8Array.of(1, 0xab) };
    const { sectors, parameters } = verityTarget({ ...device, superblock: small }, '7:1', ['a', 'b']);
    expect(sectors).toBe(300);
    expect(parameters).toMatch(/^1 7:1 7:1 512 1024 300 1204 sha512 (ab){64} 01ab 2 a b$/);
  });

  test('CORRUPT where the tree begins within a block', () => {
    expect(() => verityTarget({ ...device, treeOffset: 4608 }, '7:1', [])).toThrow(refusal('CORRUPT'));
  });
});

test('optional arguments are words', () => {
  expect(verityArguments(undefined)).toEqual([]);
  expect(verityArguments('  ignore_zero_blocks  use_fec_from_device /dev/x ', true)).toEqual([
    ...['ignore_zero_blocks', 'use_fec_from_device', '/dev/x', 'check_at_most_once'],
  ]);
  expect(verityArguments('check_at_most_once', true)).toEqual(['check_at_most_once']);
  expect(() => verityArguments('a\nb')).toThrow(refusal('USAGE'));
});
