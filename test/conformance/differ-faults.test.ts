import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { applyLayer, type ApplyRequest } from '../../src/containerd/differ';
import { encodeLayer } from '../../src/layer/encode';
import { badBlobs, readGolden, type BadBlob } from '../support/golden';
import { rootOnly, titleOf } from './support/machine';

// The proxy differ, given what it must refuse, or what it can't finish: the folder of the layer stays as it was.

/** The digest of the blob vouches for what has no checksums or no table digest. Frames in another order are a layer of another DiffID. */
const taken = ['hash_alg_none', 'table_digest_missing', 'frames_swapped'];

let work: string;
let layer: string;

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'differ-faults-'));
});
afterEach(() => {
  rmSync(work, { recursive: true });
});

/** Folders as containerd has them. */
function makeFolders(root: string): void {
  layer = join(root, 'io.containerd.snapshotter.v1.erofs/snapshots/1');
  mkdirSync(join(root, 'io.containerd.content.v1.content/blobs/sha256'), { recursive: true });
  mkdirSync(join(layer, 'fs'), { recursive: true });
  writeFileSync(join(layer, '.erofslayer'), '');
}

function store(root: string, bytes: Buffer): { digest: string; size: number } {
  const hex = createHash('sha256').update(bytes).digest('hex');
  writeFileSync(join(root, 'io.containerd.content.v1.content/blobs/sha256', hex), bytes);
  return { digest: `sha256:${hex}`, size: bytes.length };
}

const mounts = (): ApplyRequest['mounts'] => [
  { type: 'bind', source: join(layer, 'fs'), options: ['rw', 'rbind'] },
];

function expectNothing(): void {
  expect(readdirSync(layer).sort()).toEqual(['.erofslayer', 'fs']);
}

describe('hostile vectors', () => {
  const apply = ({ blob, annotations }: BadBlob) => {
    makeFolders(work);
    const diff = { media_type: 'application/vnd.erofs+zstd', annotations, ...store(work, readGolden(blob)) };
    return applyLayer({ diff, mounts: mounts() }, { root: work });
  };

  test.each(badBlobs().filter(({ name }) => !taken.includes(name)))('$name is refused', async (vector) => {
    await expect(apply(vector)).rejects.toThrow();
    expectNothing();
  });

  test('frames in another order have another DiffID, which containerd refuses', async () => {
    const good = badBlobs().find(({ name }) => name === 'table_digest_missing')!;
    const swapped = badBlobs().find(({ name }) => name === 'frames_swapped')!;
    const { digest } = await apply(good);
    rmSync(layer, { recursive: true });
    const other = await apply(swapped).catch(() => null);
    expect(other?.digest).not.toBe(digest);
  });
});

describe('layers that are not finished', () => {
  async function encoded(root: string): Promise<ApplyRequest> {
    makeFolders(root);
    const tree = join(work, 'tree');
    mkdirSync(tree);
    writeFileSync(join(tree, 'data'), randomBytes(8 << 20));
    const [tar, blob] = [join(work, 'layer.tar'), join(work, 'layer.blob')];
    execFileSync('tar', ['-C', tree, '-cf', tar, '.']);
    const made = await encodeLayer(tar, blob, { chunkSize: 65536, dmVerity: true });
    const { mediaType, annotations } = made;
    mkdirSync(join(work, 'io.containerd.content.v1.content/blobs/sha256'), { recursive: true });
    const diff = { media_type: mediaType, annotations, ...store(work, readFileSync(blob)) };
    return { diff, mounts: mounts() };
  }

  test('who cancels the call has nothing of the layer', async () => {
    const request = await encoded(work);
    const stop = new AbortController();
    const onProgress = (): void => {
      stop.abort();
    };
    const applying = applyLayer(request, { root: work, signal: stop.signal, onProgress });
    await expect(applying).rejects.toMatchObject({ code: 'CANCELLED' });
    expectNothing();
  });

  test.skipIf(rootOnly !== null)(titleOf('a full disk has nothing of the layer', rootOnly), async () => {
    const disk = join(work, 'disk');
    mkdirSync(disk);
    mkdirSync(join(work, 'io.containerd.content.v1.content/blobs/sha256'), { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', disk]);
    try {
      const request = await encoded(disk);
      await expect(applyLayer(request, { root: work })).rejects.toMatchObject({ code: 'NO_SPACE' });
      expectNothing();
    } finally {
      execFileSync('umount', [disk]);
    }
  });
});
