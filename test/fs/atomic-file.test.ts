import { execFileSync } from 'node:child_process';
import {
  closeSync,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { createAtomicFile, writeAtomically } from '../../src/fs/atomic-file';
import { openTemporary } from '../../src/fs/temporary';
import { refusal } from '../support/refusal';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'atomic-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

describe('atomic file', () => {
  it('appears when it is committed', async () => {
    const path = join(folder, 'blob');
    writeFileSync(path, 'old');
    const file = await createAtomicFile(path);
    writeSync(file.fd, 'new');
    expect(readFileSync(path, 'utf8')).toBe('old');
    await file.commit();
    await file.discard();
    expect(readFileSync(path, 'utf8')).toBe('new');
    expect(readdirSync(folder)).toEqual(['blob']);
    expect(() => fstatSync(file.fd)).toThrow('EBADF');
  });

  it('leaves nothing when it is discarded, and can’t be committed then', async () => {
    const file = await createAtomicFile(join(folder, 'blob'));
    await file.discard();
    await file.commit();
    expect(readdirSync(folder)).toEqual([]);
    expect(() => fstatSync(file.fd)).toThrow('EBADF');
  });

  it('goes with a failure of its writer', async () => {
    const failed = writeAtomically(join(folder, 'blob'), async () => {
      throw new Error('halfway');
    });
    await expect(failed).rejects.toThrow('halfway');
    expect(readdirSync(folder)).toEqual([]);
    const length = await writeAtomically(join(folder, 'blob'), async ({ fd }) => writeSync(fd, 'done'));
    expect([length, readFileSync(join(folder, 'blob'), 'utf8')]).toEqual([4, 'done']);
  });

  it('goes with a failure to give it its name', async () => {
    const path = join(folder, 'blob');
    const file = await createAtomicFile(path);
    mkdirSync(path);
    await expect(file.commit()).rejects.toThrow(refusal('IO', path));
    expect(readdirSync(folder)).toEqual(['blob']);
  });

  it('has the longest name that a file can have', async () => {
    const name = 'n'.repeat(255);
    await writeAtomically(join(folder, name), async () => undefined);
    expect(readdirSync(folder)).toEqual([name]);
  });

  it('needs a folder', async () => {
    const path = join(folder, 'none', 'blob');
    await expect(createAtomicFile(path)).rejects.toThrow(
      refusal('NOT_FOUND', `folder ${join(folder, 'none')} does not exist`),
    );
    writeFileSync(join(folder, 'file'), '');
    await expect(createAtomicFile(join(folder, 'file', 'blob'))).rejects.toThrow(
      refusal('IO', 'not a directory'),
    );
  });

  it('replaces no directory and no device', async () => {
    await expect(createAtomicFile(folder)).rejects.toThrow(refusal('USAGE', 'it is a directory'));
    await expect(createAtomicFile('/dev/null')).rejects.toThrow(refusal('USAGE', 'no regular file'));
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    await expect(createAtomicFile(fifo)).rejects.toThrow(refusal('USAGE', 'no regular file'));
  });

  it.each(['real/blob', 'nowhere'])(
    'replaces a symbolic link to %s, not what it leads to',
    async (target) => {
      mkdirSync(join(folder, 'real'));
      writeFileSync(join(folder, 'real', 'blob'), 'old');
      symlinkSync(target, join(folder, 'link'));
      await writeAtomically(join(folder, 'link'), async ({ fd }) => writeSync(fd, 'new'));
      expect(lstatSync(join(folder, 'link')).isFile()).toBe(true);
      expect(readFileSync(join(folder, 'link'), 'utf8')).toBe('new');
      expect(readFileSync(join(folder, 'real', 'blob'), 'utf8')).toBe('old');
      expect(readdirSync(folder).sort()).toEqual(['link', 'real']);
    },
  );

  it('replaces no link to a directory or a device', async () => {
    symlinkSync('.', join(folder, 'directory'));
    symlinkSync('/dev/null', join(folder, 'device'));
    await expect(createAtomicFile(join(folder, 'directory'))).rejects.toThrow(refusal('USAGE', 'directory'));
    await expect(createAtomicFile(join(folder, 'device'))).rejects.toThrow(
      refusal('USAGE', 'no regular file'),
    );
  });

  it('replaces no file that is read, by whatever name', async () => {
    const path = join(folder, 'input');
    writeFileSync(path, 'input');
    symlinkSync('input', join(folder, 'link'));
    linkSync(path, join(folder, 'second'));
    const fd = openSync(path, 'r');
    for (const name of ['input', 'link', 'second']) {
      for (const inputs of [[{ path }], [{ fd, name: path }], [{ path: join(folder, 'none') }, { path }]]) {
        await expect(createAtomicFile(join(folder, name), { inputs })).rejects.toThrow(
          refusal('USAGE', 'would be replaced'),
        );
      }
    }
    closeSync(fd);
    expect(readFileSync(path, 'utf8')).toBe('input');
    await writeAtomically(join(folder, 'other'), async () => undefined, { inputs: [{ path }] });
  });
});

describe('temporary file', () => {
  it('has no name', async () => {
    const file = await openTemporary(folder);
    expect(readdirSync(folder)).toEqual([]);
    writeSync(file.fd, 'text');
    expect(fstatSync(file.fd)).toMatchObject({ size: 4, nlink: 0 });
    await file.close();
    expect(() => fstatSync(file.fd)).toThrow('EBADF');
  });

  it('needs a folder', async () => {
    await expect(openTemporary(join(folder, 'none'))).rejects.toThrow(
      refusal('NOT_FOUND', 'temporary file in'),
    );
  });
});
