import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { rootOnly, titleOf } from '../../conformance/support/machine';
import { doctor } from '../../../src/mount/doctor/doctor';
import type { DoctorCheck } from '../../../src/mount/doctor/check';
import { kernelChecks } from '../../../src/mount/doctor/checks';
import { Machine } from '../../../src/mount/doctor/machine';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'doctor-'));
});
afterEach(() => rm(root, { recursive: true }));

const put = async (path: string, content: string | Buffer): Promise<void> => {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), content);
};

/** A machine with this kernel and these files. */
async function machine(release: string, files: Record<string, string | Buffer> = {}): Promise<void> {
  await put('/proc/sys/kernel/osrelease', `${release}\n`);
  await put('/proc/self/status', 'Name:\tnode\nCapEff:\t000001ffffffffff\n');
  for (const [path, content] of Object.entries(files)) await put(path, content);
}

async function statuses(): Promise<Record<string, string>> {
  const checks = await kernelChecks(await Machine.open(root));
  return Object.fromEntries(checks.map(({ name, status }) => [name, status]));
}

async function check(wanted: string): Promise<DoctorCheck> {
  return (await kernelChecks(await Machine.open(root))).find(({ name }) => name === wanted)!;
}

const devices = { '/dev/loop-control': '', '/dev/mapper/control': '', '/dev/fuse': '' };

describe('the kernel', () => {
  test('a configuration with everything built in', async () => {
    const options = [
      ...['EROFS_FS', 'EROFS_FS_ZIP', 'EROFS_FS_ZIP_LZMA', 'EROFS_FS_ZIP_DEFLATE', 'EROFS_FS_ZIP_ZSTD'],
      ...['EROFS_FS_BACKED_BY_FILE', 'BLK_DEV_LOOP', 'DM_VERITY', 'CRYPTO_SHA256', 'CRYPTO_SHA512'],
      ...['OVERLAY_FS', 'FUSE_FS'],
    ];
    const config = options.map((option) => `CONFIG_${option}=y\n`).join('');
    await machine('6.12.1', { ...devices, '/proc/config.gz': gzipSync(config) });
    const found = Object.entries(await statuses()).filter(([name]) => name !== 'root');
    expect(found).toHaveLength(12);
    expect(found.filter(([, status]) => status !== 'ok')).toEqual([]);
  });

  test('a Debian kernel: modules, and what its version lacks', async () => {
    const modules = [
      'fs/erofs/erofs.ko',
      'drivers/md/dm-verity.ko.xz',
      'fs/overlayfs/overlay.ko',
      'fs/fuse/fuse.ko',
    ];
    await machine('6.1.0-56-amd64', {
      ...devices,
      '/boot/config-6.1.0-56-amd64':
        'CONFIG_EROFS_FS=m\nCONFIG_EROFS_FS_ZIP=y\n# CONFIG_EROFS_FS_ZIP_LZMA is not set\n',
      '/lib/modules/6.1.0-56-amd64/modules.dep': modules
        .map((name) => `kernel/${name}: kernel/x/other.ko\n`)
        .join(''),
      '/lib/modules/6.1.0-56-amd64/modules.builtin':
        'kernel/drivers/block/loop.ko\nkernel/crypto/sha256_generic.ko\n',
      '/proc/crypto': 'name         : sha512\ndriver       : sha512-avx2\n',
    });
    expect(await statuses()).toMatchObject({
      erofs: 'ok',
      'erofs-lz4': 'ok',
      'erofs-lzma': 'missing',
      'erofs-deflate': 'missing',
      'erofs-zstd': 'missing',
      'erofs-file-backed': 'missing',
      loop: 'ok',
      'dm-verity': 'ok',
      'dm-verity-sha512': 'ok',
      'dm-verity-sha256': 'ok',
      overlay: 'ok',
      fuse: 'ok',
    });
    expect((await check('dm-verity')).detail).toBe('a module, dm-verity, /dev/mapper/control');
    expect((await check('erofs-zstd')).hint).toBe('Linux 6.10 or newer');
    expect((await check('erofs-lzma')).hint).toBe('a kernel with CONFIG_EROFS_FS_ZIP_LZMA');
  });

  test('what is not built in is missing, and what nothing tells of is unknown', async () => {
    await machine('6.12.1', { ...devices, '/proc/config.gz': gzipSync('CONFIG_DM_VERITY=m\n') });
    expect(await statuses()).toMatchObject({ erofs: 'missing', 'dm-verity-sha256': 'missing' });
    // A module without a file may be one that the host of a container loads; device-mapper alone does not tell.
    expect((await check('dm-verity')).status).toBe('unknown');
    await rm(join(root, '/proc/config.gz'));
    expect(await statuses()).toMatchObject({ erofs: 'unknown', overlay: 'unknown', 'erofs-lz4': 'unknown' });
    expect((await check('erofs')).hint).toBe('modprobe erofs, as root');
  });

  test('hashes for dm-verity are of no use without it', async () => {
    const crypto = 'name         : sha512\n\nname         : sha256\n';
    await machine('6.12.1', { '/proc/config.gz': gzipSync('CONFIG_DM_VERITY=y\n'), '/proc/crypto': crypto });
    const names = ['dm-verity', 'dm-verity-sha512', 'dm-verity-sha256'];
    expect(await statuses()).toMatchObject(Object.fromEntries(names.map((name) => [name, 'missing'])));
    expect((await check('dm-verity-sha512')).detail).toBe('dm-verity: there is no /dev/mapper/control');
  });

  test('a filesystem that is registered needs no other word', async () => {
    await machine('6.12.1', {
      '/proc/filesystems': 'nodev\tproc\n\terofs\nnodev\toverlay\n',
      '/proc/config.gz': gzipSync(''),
    });
    expect(await statuses()).toMatchObject({ erofs: 'ok', overlay: 'ok', fuse: 'missing' });
  });

  test('a damaged configuration is no configuration', async () => {
    await machine('6.12.1', { '/proc/config.gz': gzipSync('CONFIG_EROFS_FS=y').subarray(0, 20) });
    expect(await statuses()).toMatchObject({ erofs: 'unknown' });
  });

  test('a device that is not there, and one that does not open', async () => {
    await machine('6.12.1', { '/lib/modules/6.12.1/modules.builtin': 'kernel/drivers/block/loop.ko\n' });
    expect(await check('loop')).toMatchObject({ status: 'missing', detail: 'there is no /dev/loop-control' });
    await mkdir(join(root, '/dev/loop-control'), { recursive: true });
    expect(await check('loop')).toMatchObject({ status: 'missing', detail: '/dev/loop-control: EISDIR' });
  });

  test.skipIf(rootOnly !== null)(titleOf('root without CAP_SYS_ADMIN can not mount', rootOnly), async () => {
    await machine('6.12.1');
    expect(await check('root')).toMatchObject({ status: 'ok' });
    await put('/proc/self/status', 'CapEff:\t00000000a80425fb\n');
    expect(await check('root')).toMatchObject({
      status: 'missing',
      detail: expect.stringContaining('CAP_SYS_ADMIN') as string,
    });
  });

  test('versions are compared by number', async () => {
    await machine('10.1.0');
    const kernel = await Machine.open(root);
    expect([kernel.isAtLeast(6, 12), kernel.isAtLeast(10, 1), kernel.isAtLeast(10, 2)]).toEqual([
      true,
      true,
      false,
    ]);
  });
});

describe('doctor()', () => {
  test('has a check for everything, each with a hint when something is missing', async () => {
    const { ok, checks } = await doctor();
    expect(ok).toBe(true);
    const names = [
      'addon',
      'erofs',
      'loop',
      'dm-verity',
      'overlay',
      'fuse',
      'root',
      'mkfs.erofs',
      'container-runtime',
    ];
    expect(checks.map(({ name }) => name)).toEqual(expect.arrayContaining(names));
    expect(checks.filter(({ status, hint }) => status !== 'ok' && hint === '')).toEqual([]);
  });

  test('programs are looked for on PATH, and an old mkfs.erofs does not count', async () => {
    await put('mkfs.erofs', '#!/bin/sh\necho "mkfs.erofs (erofs-utils) 1.5"\n');
    await put('runc', '#!/bin/sh\necho "runc version 1.14.3"\n');
    for (const name of ['mkfs.erofs', 'runc']) await chmod(join(root, name), 0o755);
    const saved = { ...process.env };
    process.env['PATH'] = root;
    delete process.env['MKFS_EROFS'];
    try {
      const { checks } = await doctor();
      const found = Object.fromEntries(checks.map((one) => [one.name, one]));
      expect(found['mkfs.erofs']).toMatchObject({
        status: 'missing',
        detail: expect.stringContaining('1.5') as string,
      });
      expect(found['container-runtime']).toMatchObject({
        status: 'ok',
        detail: `${join(root, 'runc')} 1.14.3`,
      });
    } finally {
      process.env = saved;
    }
  });
});
