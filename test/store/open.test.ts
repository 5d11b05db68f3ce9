import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDestination, openSource } from '../../src/store/open';
import { caught } from '../support/caught';
import { writeImage } from './sample-image';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'open-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

describe('an archive that has to be decompressed first', () => {
  const compressed: [string, string][] = [
    ['bzip2', '425a6839314159265359'],
    ['bzip2', '425a683917724538509000000000'],
    ['xz', 'fd377a585a000004'],
    ['zstd', '28b52ffd0400'],
  ];
  it.each(compressed)('%s is named', async (name, magic) => {
    const file = join(folder, 'archive');
    writeFileSync(file, Buffer.concat([Buffer.from(magic, 'hex'), Buffer.alloc(1000)]));
    for (const transport of ['oci-archive', 'docker-archive']) {
      expect(await caught(() => openSource(`${transport}:${file}`))).toMatchObject({
        code: 'UNSUPPORTED',
        why: `an archive that is compressed by ${name}`,
        hint: 'decompress it first',
      });
    }
  });
});

describe('openDestination and openSource', () => {
  it.each(['oci', 'oci-archive'])('give an %s: store and the name in it', async (transport) => {
    const text = `${transport}:${join(folder, 'image')}:a/b:v1`;
    const written = await openDestination(text);
    expect(written.reference).toBe('a/b:v1');
    const descriptor = await writeImage(written.store, 'a');
    await written.store.setReference(written.reference, descriptor);
    await written.store.close();
    const { store, reference } = await openSource(text);
    expect(reference).toBe('a/b:v1');
    expect(await store.resolve(reference)).toMatchObject(descriptor);
    await store.close();
  });

  it.each([
    ['docker-archive:x.tar', 'NOT_FOUND', 'USAGE'],
    ['erofs-cache:dir', 'USAGE', 'USAGE'],
    ['https://host/blob', 'USAGE', 'USAGE'],
    ['layer.tar', 'USAGE', 'USAGE'],
  ])('%s as source: %s, as destination: %s', async (text, source, destination) => {
    expect((await caught(() => openSource(text))).code).toBe(source);
    expect((await caught(() => openDestination(text))).code).toBe(destination);
  });

  it.each(['oci', 'oci-archive'])(
    'refuse a name that %s: can not hold before anything is made',
    async (transport) => {
      expect((await caught(() => openDestination(`${transport}:${join(folder, 'x')}:a b`))).code).toBe(
        'USAGE',
      );
      expect(readdirSync(folder)).toEqual([]);
    },
  );
});
