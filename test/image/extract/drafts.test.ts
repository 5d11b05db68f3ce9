import {
  chmodSync,
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
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newDraftPath } from '../../../src/fs/draft';
import { clearExtractDrafts, makeExtractDraft } from '../../../src/image/extract/drafts';
import { native } from '../../../src/native/binding';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'extract-drafts-'));
});
afterEach(() => {
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
