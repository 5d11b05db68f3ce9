import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openFileSource } from '../../../src/source/file';
import { openArchiveFiles } from '../../../src/store/archive/tar-members';
import { tarBytes } from '../../support/tar-bytes';

test('names that differ in bytes that are no UTF-8 are two names, and neither is that of the text that shows them', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'archive-files-'));
  const path = join(folder, 'archive.tar');
  const shown = Buffer.from('a\ufffd').toString('latin1');
  writeFileSync(path, tarBytes([{ name: 'a\xff' }, { name: 'a\xfe' }, { name: shown, content: 'text' }]));
  const files = await openArchiveFiles(await openFileSource(path), {});
  expect([...files.paths()]).toHaveLength(3);
  expect((await files.open('a\ufffd', 'file')).size).toBe(4);
  await files.close();
  rmSync(folder, { recursive: true });
});
