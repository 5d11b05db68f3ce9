import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { convertImage } from '../../src/convert/image';
import { fromSystemError } from '../../src/errors';
import { openLayoutSource } from '../../src/store/layout/layout';
import { LayoutWorkspace } from '../../src/store/layout/workspace';
import { sampleTar, writeLayout } from '../e2e/sample';
import { caught } from '../support/caught';

let folder: string;
let warnings: string[];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidy-'));
  warnings = [];
  await writeLayout(join(folder, 'source'), [await sampleTar()]);
  const fault = Object.assign(new Error('EIO: i/o error, unlink'), { code: 'EIO', syscall: 'unlink' });
  vi.spyOn(LayoutWorkspace.prototype, 'end').mockRejectedValue(fromSystemError('drafts', fault));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const convert = (source: string) =>
  convertImage(`oci:${folder}/${source}`, `oci:${folder}/result:x`, {
    onWarning: (line) => warnings.push(line),
  });

test('what can not be cleaned up does not make a failure of an image that is there', async () => {
  const { digest } = await convert('source');
  const result = await openLayoutSource(join(folder, 'result'));
  expect((await result.resolve('x')).digest).toBe(digest);
  expect(warnings).toEqual(['drafts: i/o error: something may be left behind']);
});

test('nor does it hide why a conversion failed', async () => {
  rmSync(join(folder, 'source/blobs'), { recursive: true });
  await writeLayout(join(folder, 'source'), [Buffer.from('no tar'.repeat(200))]);
  expect((await caught(() => convert('source'))).code).toBe('CORRUPT');
  expect(warnings).toHaveLength(1);
});
