import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { documentOf } from '../e2e/run-cli';
import { at, folder } from '../e2e/workspace';
import type { TarEntryBytes } from '../support/tar-bytes';
import { mountLazily, proxy, umount, useLazyMounts, whyNoLazyMounts } from './support/lazily';
import { titleOf } from './support/machine';
import { writeImage } from './support/mounting';

// The claim: of an update, a machine that has the image before fetches what changed, and metadata and tables.

const reason = whyNoLazyMounts();
useLazyMounts(reason !== null);

const text = (bytes: number): string => randomBytes(bytes / 2).toString('hex');
/** Compressed, hexadecimal noise is half as long. */
const stored = (bytes: number): number => bytes / 2;

function release(changes: Record<string, string>, kept: Map<string, string>): TarEntryBytes[] {
  const entries: TarEntryBytes[] = [{ name: './', type: '5', mode: 0o755 }];
  for (const [name, content] of kept) entries.push({ name, content: changes[name] ?? content });
  return entries;
}

async function push(tag: string, layer: TarEntryBytes[], chunking: string): Promise<string> {
  const name = `${chunking}-${tag}`;
  await writeImage(name, [layer]);
  const reference = `docker://${proxy.host}/shared:${folder.split('/').at(-1)}-${name}`;
  const flags = ['--profile', 'erofs-image-spec', '--chunking', chunking, '--dm-verity'];
  await documentOf(['convert', `oci:${at(`${name}.tars`)}:image`, reference, ...flags]);
  return reference;
}

/** Mounts an image, reads all of it, and unmounts it; returns what came of blobs meanwhile, in bytes. */
async function readAll(reference: string, layer: TarEntryBytes[]): Promise<number> {
  const before = proxy.deliveries.length;
  await mountLazily(reference);
  for (const { name, content } of layer)
    if (content !== undefined)
      expect((await readFile(`${at('target')}/${name}`)).toString('latin1') === content, name).toBe(true);
  await umount();
  return proxy.deliveries.slice(before).reduce((sum, { bytes }) => sum + bytes, 0);
}

describe.skipIf(reason !== null)(titleOf('a lazy pull of an update', reason), () => {
  test('fetches at most 1.5 times what changed when chunks are cut by files, and metadata and table', async () => {
    const kept = new Map<string, string>();
    for (let i = 0; i < 200; i++) kept.set(`small-${i}`, text(2000 + 2 * ((i * 7919) % 20_000)));
    for (let i = 0; i < 8; i++) kept.set(`zlarge-${i}`, text(2_000_000));
    const changes = { 'zlarge-2': text(2_100_000), 'small-50': text(8000), 'small-150': text(12_000) };
    const changed = stored(2_120_000);
    const [one, two] = [release({}, kept), release(changes, kept)];
    const first = await push('1', one, 'files');
    const second = await push('2', two, 'files');
    expect(await readAll(first, one)).toBeGreaterThan(stored(17_000_000));
    const fetched = await readAll(second, two);
    expect(fetched).toBeLessThan(1.5 * changed + 300_000);
    expect(fetched).toBeGreaterThan(changed);
  });
});
