import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { rootOnly, titleOf } from '../../conformance/support/machine';
import { newDraftPath } from '../../../src/fs/draft';
import { clearExtractDrafts, makeExtractDraft } from '../../../src/image/extract/drafts';
import { native } from '../../../src/native/binding';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'extract-drafts-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

/** What a killed extraction leaves: folders that forbid their owner to write, links that lead out. */
function leave(): string {
  const draft = newDraftPath(folder);
  mkdirSync(join(draft, 'a/b'), { recursive: true });
  writeFileSync(join(draft, 'a/b/file'), '');
  symlinkSync('../../kept', join(draft, 'a/link'));
  chmodSync(join(draft, 'a/b'), 0o500);
  chmodSync(join(draft, 'a'), 0o500);
  return basename(draft);
}

const names = (): string[] => readdirSync(folder).sort();

describe('folders that killed extractions left', () => {
  it('go, and nothing that their links lead to', async () => {
    leave();
    mkdirSync(join(folder, 'kept'));
    writeFileSync(join(folder, 'kept/file'), '');
    await clearExtractDrafts(join(folder, 'new'));
    expect(names()).toEqual(['kept']);
    expect(readdirSync(join(folder, 'kept'))).toEqual(['file']);
  });

  it('stay while they are filled', async () => {
    const parent = openSync(folder, 'r');
    const { name, fd } = makeExtractDraft(parent);
    await clearExtractDrafts(join(folder, 'new'));
    expect(names()).toEqual([name]);
    closeSync(fd);
    closeSync(parent);
    await clearExtractDrafts(join(folder, 'new'));
    expect(names()).toEqual([]);
  });

  it('stay where others could have given the name to something else', async () => {
    const name = leave();
    chmodSync(folder, 0o777);
    await clearExtractDrafts(join(folder, 'new'));
    expect(names()).toEqual([name]);
    chmodSync(folder, 0o1777);
    await clearExtractDrafts(join(folder, 'new'));
    expect(names()).toEqual([]);
  });

  it('are made anew when another run took them for such', () => {
    const parent = openSync(folder, 'r');
    const tryLock = native.tryLock.bind(native);
    let calls = 0;
    native.tryLock = (fd) => {
      if (calls++ === 0) for (const name of names()) rmSync(join(folder, name), { recursive: true });
      return tryLock(fd);
    };
    const { name, fd } = makeExtractDraft(parent);
    native.tryLock = tryLock;
    expect([calls, names()]).toEqual([2, [name]]);
    closeSync(fd);
    closeSync(parent);
  });
});

describe.skipIf(rootOnly !== null)(titleOf('as root, folders that killed extractions left', rootOnly), () => {
  it('stay in a folder of another user, and when they are another user’s', async () => {
    const draft = leave();
    chownSync(folder, 12345, 12345);
    await clearExtractDrafts(join(folder, 'out'));
    expect(names()).toEqual([draft]);
    chownSync(folder, 0, 0);
    chownSync(join(folder, draft), 12345, 12345);
    await clearExtractDrafts(join(folder, 'out'));
    expect(names()).toEqual([draft]);
    chownSync(join(folder, draft), 0, 0);
    await clearExtractDrafts(join(folder, 'out'));
    expect(names()).toEqual([]);
  });
});

it('a folder is begun where there are no locks, too', () => {
  vi.spyOn(native, 'tryLock').mockImplementation(() => {
    throw new Error('no locks');
  });
  const parent = openSync(folder, 'r');
  const { name, fd } = makeExtractDraft(parent);
  expect(names()).toEqual([name]);
  closeSync(fd);
  closeSync(parent);
});
