import { linkSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { extractImage } from '../../../src/image/extract/extract';
import { encodeLayer } from '../../../src/layer/encode';
import { noise } from '../../e2e/sample';
import { refusal } from '../../support/refusal';
import { tarBytes, type TarEntryBytes } from '../../support/tar-bytes';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'extract-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});
const at = (name: string): string => join(folder, name);

async function blobOf(entries: TarEntryBytes[]): Promise<string> {
  await writeFile(at('layer.tar'), tarBytes(entries));
  await encodeLayer(at('layer.tar'), at('layer.blob'), { chunkSize: 65_536 });
  return at('layer.blob');
}

describe('while others rename what is there', () => {
  const content = noise(500_000, 'renamed').toString('latin1');
  const files = Array.from({ length: 8 }, (_, i) => ({ name: `d/f${i}`, content }));
  beforeEach(async () => {
    await mkdir(at('victim/d'), { recursive: true });
    await writeFile(at('victim/d/f0'), 'mine');
  });

  /** An extraction that fails after its first files, when `meanwhile` has run. */
  async function fail(meanwhile: () => void): Promise<void> {
    const controller = new AbortController();
    const onProgress = (): void => {
      if (!controller.signal.aborted) meanwhile();
      controller.abort();
    };
    const image = await blobOf([{ name: 'd', type: '5' }, ...files]);
    const failed = extractImage(image, at('out'), { signal: controller.signal, onProgress });
    await expect(failed).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(controller.signal.aborted).toBe(true);
  }

  it('nothing of theirs goes: an empty folder, exchanged', async () => {
    await mkdir(at('out'));
    await fail(() => {
      renameSync(at('out'), at('aside'));
      renameSync(at('victim'), at('out'));
    });
    expect(await readFile(at('out/d/f0'), 'utf8')).toBe('mine');
    expect(await readdir(at('aside'))).toEqual([]);
  });

  it('nothing of theirs goes: a new folder, exchanged', async () => {
    const draft = (): string => readdirSync(folder).find((name) => name.startsWith('.seekable-erofs-'))!;
    let name = '';
    await fail(() => {
      name = draft();
      renameSync(at(name), at('aside'));
      renameSync(at('victim'), at(name));
    });
    expect(await readFile(at(`${name}/d/f0`), 'utf8')).toBe('mine');
    expect(await readdir(at('aside'))).toEqual([]);
  });

  it('nothing of theirs goes: put into the folder, or in the place of one of its folders', async () => {
    await mkdir(at('out'));
    await fail(() => {
      writeFileSync(at('out/theirs'), '');
      renameSync(at('out/d'), at('aside'));
      renameSync(at('victim/d'), at('out/d'));
      linkSync(at('out/d/f0'), at('out/link'));
    });
    expect((await readdir(at('out'))).sort()).toEqual(['d', 'link', 'theirs']);
    expect(await readFile(at('out/d/f0'), 'utf8')).toBe('mine');
  });

  it('a new folder does not replace one that appeared', async () => {
    const image = await blobOf(files);
    const onProgress = (): void => void mkdirSync(at('out'), { recursive: true });
    await expect(extractImage(image, at('out'), { onProgress })).rejects.toEqual(refusal('IO', 'out'));
    expect(await readdir(at('out'))).toEqual([]);
    expect((await readdir(folder)).filter((name) => name.startsWith('.'))).toEqual([]);
  });
});
