import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readBatchList } from '../../src/convert/batch/list';
import { LayerCache } from '../../src/convert/layer-cache';
import { createAtomicFile, writeAtomically } from '../../src/fs/atomic-file';
import { makeFolder } from '../../src/fs/folder';
import { openExtractTarget } from '../../src/image/extract/target';
import { openFileSource } from '../../src/source/file';
import { refusal } from '../support/refusal';

test.each(['a\ud800', 'a\udfff', 'a\0b'])(
  '%j, which the system would get as another name, is refused',
  async (name) => {
    const folder = mkdtempSync(join(tmpdir(), 'file-name-'));
    const path = join(folder, name);
    await expect(writeAtomically(path, async () => undefined)).rejects.toThrow(refusal('USAGE'));
    await expect(makeFolder(path)).rejects.toThrow(refusal('USAGE'));
    await expect(openFileSource(path)).rejects.toThrow(refusal('USAGE'));
    expect(readdirSync(folder)).toEqual([]);
    rmSync(folder, { recursive: true });
  },
);

test('others are names like any', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'file-name-'));
  const names = ['a\ufffd', 'é', '\u{1f600}', 'a b'].sort();
  for (const name of names) await writeAtomically(join(folder, name), async () => undefined);
  expect(readdirSync(folder).sort()).toEqual(names);
  rmSync(folder, { recursive: true });
});

test('`-` is no folder, no list, and no file beside which another is written', async () => {
  const refused = refusal('USAGE', 'standard input or output');
  expect(() => openExtractTarget('-', false)).toThrow(refused);
  await expect(createAtomicFile('-')).rejects.toEqual(refused);
  await expect(readBatchList('-')).rejects.toEqual(refused);
  await expect(LayerCache.open('-')).rejects.toEqual(refused);
});
