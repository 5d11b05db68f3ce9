import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { writeAtomically } from '../../src/fs/atomic-file';
import { clearDrafts, isDraftName, newDraftPath, openDraft } from '../../src/fs/draft';
import { openTemporary } from '../../src/fs/temporary';
import * as unnamedFile from '../../src/fs/unnamed-file';
import { native } from '../../src/native/binding';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'draft-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const names = (): string[] => readdirSync(folder).sort();

/** As on a file system without unnamed files. */
function lackUnnamedFiles(): void {
  vi.spyOn(unnamedFile, 'openUnnamed').mockResolvedValue(null);
}

describe('a draft on a file system with unnamed files', () => {
  it('can not be seen before it is published', async () => {
    const draft = await openDraft(folder);
    await draft.handle.write('text');
    expect(names()).toEqual([]);
    await draft.publish(join(folder, 'file'));
    await draft.close();
    expect(names()).toEqual(['file']);
    expect(readFileSync(join(folder, 'file'), 'utf8')).toBe('text');
  });

  it('takes the place of a file in one step', async () => {
    writeFileSync(join(folder, 'file'), 'old');
    const draft = await openDraft(folder);
    await draft.handle.write('new');
    await draft.publish(join(folder, 'file'));
    await draft.close();
    expect(names()).toEqual(['file']);
    expect(readFileSync(join(folder, 'file'), 'utf8')).toBe('new');
  });
});

describe('a draft that takes the place of a file', () => {
  const publish = async (): Promise<void> => {
    writeFileSync(join(folder, 'file'), 'old');
    const draft = await openDraft(folder);
    try {
      await draft.publish(join(folder, 'file'));
    } finally {
      await draft.close();
    }
  };

  it('is locked while it has a hidden name', async () => {
    const lock = vi.spyOn(native, 'tryLock');
    await publish();
    expect(lock).toHaveBeenCalledTimes(1);
  });

  it('gets another hidden name where one is taken', async () => {
    const link = native.sys.linkOpenFile.bind(native.sys);
    let calls = 0;
    vi.spyOn(native.sys, 'linkOpenFile').mockImplementation((fd, path) => {
      if (++calls === 2) throw Object.assign(new Error('taken'), { errno: constants.errno.EEXIST });
      link(fd, path);
    });
    await publish();
    expect([calls, names()]).toEqual([3, ['file']]);
  });

  it('says so when there is no room for a name', async () => {
    vi.spyOn(native.sys, 'linkOpenFile').mockImplementation(() => {
      throw Object.assign(new Error('full'), {
        errno: constants.errno.ENOSPC,
        code: 'NO_SPACE',
        why: 'full',
      });
    });
    await expect(publish()).rejects.toMatchObject({ code: 'NO_SPACE' });
  });
});

describe('clearing drafts', () => {
  it('leaves what came to the name of one meanwhile', async () => {
    const path = newDraftPath(folder);
    writeFileSync(path, 'left');
    const lock = native.tryLock.bind(native);
    vi.spyOn(native, 'tryLock').mockImplementation((fd) => {
      rmSync(path);
      writeFileSync(path, 'new');
      return lock(fd);
    });
    await clearDrafts(folder);
    expect(readFileSync(path, 'utf8')).toBe('new');
  });

  it('leaves what is no file, and does not mind a folder that can not be listed', async () => {
    const path = newDraftPath(folder);
    execFileSync('mkfifo', [path]);
    await clearDrafts(folder);
    expect(existsSync(path)).toBe(true);
    await clearDrafts(join(folder, 'none'));
  });
});

it('a file that is not finished leaves nothing', async () => {
  lackUnnamedFiles();
  const failing = writeAtomically(join(folder, 'file'), () => Promise.reject(new Error('no')));
  await expect(failing).rejects.toThrow('no');
  expect(names()).toEqual([]);
});

describe('a draft on a file system without them', () => {
  it('has a hidden name, which nobody clears while it is written', async () => {
    lackUnnamedFiles();
    writeFileSync(join(folder, 'file'), 'old');
    const draft = await openDraft(folder);
    await clearDrafts(folder);
    const [hidden] = names();
    expect(isDraftName(hidden!)).toBe(true);
    await draft.publish(join(folder, 'file'));
    await draft.close();
    expect(names()).toEqual(['file']);
    expect(readFileSync(join(folder, 'file'), 'utf8')).toBe('');
  });

  it('goes when it is closed', async () => {
    lackUnnamedFiles();
    await (await openDraft(folder)).close();
    expect(names()).toEqual([]);
  });

  it('is made anew when another run took it for one that was left behind', async () => {
    lackUnnamedFiles();
    const tryLock = vi.spyOn(native, 'tryLock').mockImplementationOnce(() => {
      for (const name of names()) rmSync(join(folder, name));
      return true;
    });
    const draft = await openDraft(folder);
    expect(tryLock).toHaveBeenCalledTimes(2);
    await draft.publish(join(folder, 'file'));
    await draft.close();
    expect(names()).toEqual(['file']);
  });

  it('holds temporary files, too', async () => {
    lackUnnamedFiles();
    const file = await openTemporary(folder);
    expect(names()).toEqual([]);
    await file.close();
  });
});

describe('what a killed writer left', () => {
  it('goes with the next file that is written there', async () => {
    writeFileSync(newDraftPath(folder), 'left');
    await writeAtomically(join(folder, 'file'), async () => undefined);
    expect(names()).toEqual(['file']);
  });

  it('is told from what others have in the folder', async () => {
    const kept = [
      '.seekable-erofs-',
      '.seekable-erofs-0123456789abcdeg',
      'x.seekable-erofs-0123456789abcdef',
    ];
    for (const name of kept) writeFileSync(join(folder, name), '');
    const draftFolder = newDraftPath(folder);
    mkdirSync(draftFolder);
    await clearDrafts(folder);
    expect(names()).toHaveLength(kept.length + 1);
    expect(existsSync(draftFolder)).toBe(true);
  });

  it('stays while somebody has it locked', async () => {
    const path = newDraftPath(folder);
    const handle = await open(path, 'wx+');
    native.tryLock(handle.fd);
    await clearDrafts(folder);
    expect(existsSync(path)).toBe(true);
    await handle.close();
    await clearDrafts(folder);
    expect(existsSync(path)).toBe(false);
  });
});
