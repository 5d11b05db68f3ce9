import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { serializeTrace, type Trace } from '../../src/format/trace';
import { findTrace } from '../../src/image/attached-trace';
import { openSource } from '../../src/store/open';
import { traceShare } from '../../src/image/trace-share';
import { pullTrace, pushTrace } from '../../src/image/trace-transfer';
import { convertImage } from '../../src/convert/image';
import { mediaTypes } from '../../src/format/media-types';
import { LayoutBuilder, hostName, other, type Descriptor } from '../conformance/support/image';
import { titleOf, whyWithout } from '../conformance/support/machine';
import { caught } from '../support/caught';
import { DockerRegistry } from '../support/docker-registry';
import { FakeRegistry, refuse } from '../support/fake-registry';
import { tarBytes } from '../support/tar-bytes';

// `trace push` and `trace pull`: a trace goes with its image, in registries that list referrers, in those that don't, and in layouts.

let folder: string;
let builder: LayoutBuilder;
let image: Descriptor;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'trace-transfer-'));
  builder = new LayoutBuilder(at('layout'));
  image = builder.image([builder.tarLayer(tarBytes([{ name: 'file', content: 'x' }]))]);
  builder.name(image);
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const at = (name: string): string => join(folder, name);
const traceOf = (path: string, platform = hostName): Trace => ({
  schema: 1,
  image: `x@sha256:${'0'.repeat(64)}`,
  platform,
  reads: [{ path, layer: `sha256:${'a'.repeat(64)}`, ranges: [[0, 1]], firstMs: 0 }],
});
function write(name: string, trace: Trace): string {
  writeFileSync(at(name), serializeTrace(trace));
  return at(name);
}
const openStore = async (reference: string) => (await openSource(reference)).store;
const read = (name: string): string => readFileSync(at(name), 'utf8');
const later = () => new Promise((resolve) => setTimeout(resolve, 3)); // the newest counts, by its time

/** Pushes two traces and pulls the second. */
async function replaces(reference: string): Promise<void> {
  const none = await caught(() => pullTrace(reference, at('pulled')));
  expect(none).toMatchObject({ code: 'NOT_FOUND', why: 'no trace is attached to it' });
  await pushTrace(write('first', traceOf('/first')), reference);
  await later();
  const { manifests } = await pushTrace(write('second', traceOf('/second')), reference);
  const pulled = await pullTrace(reference, at('pulled'));
  expect(read('pulled')).toBe(read('second'));
  expect(pulled).toMatchObject({ ...manifests[0], platform: hostName, files: 1 });
  expect(manifests).toHaveLength(1);
}

describe('a layout', () => {
  test('has the newest trace that was attached to an image, and the image is alone in it as before', async () => {
    await replaces(`oci:${at('layout')}:image`);
    // Without a name it is still the only one.
    const { manifests } = await convertImage(`oci:${at('layout')}`, `oci:${at('converted')}`);
    expect(manifests).toHaveLength(1);
    await pullTrace(`oci:${at('layout')}`, at('again'));
    expect(read('again')).toBe(read('second'));
  });

  test('keeps the traces of two that write at once', async () => {
    const reference = `oci:${at('layout')}:image`;
    const files = ['/a', '/b', '/c'].map((path) => write(path.slice(1), traceOf(path)));
    await Promise.all(files.map((file) => pushTrace(file, reference)));
    const index = JSON.parse(read('layout/index.json')) as { manifests: Descriptor[] };
    const list = index.manifests.find(({ mediaType }) => mediaType === mediaTypes.ociIndex)!;
    expect(list.annotations).toEqual({
      'org.opencontainers.image.ref.name': image.digest.replace(':', '-'),
    });
    const listed = JSON.parse(read(`layout/blobs/sha256/${list.digest.slice(7)}`)) as { manifests: object[] };
    expect(listed.manifests).toHaveLength(3);
  });

  test('has it at the manifests of the platform of the trace, tar and EROFS', async () => {
    const tar = builder.image([builder.tarLayer(tarBytes([{ name: 'other', content: 'x' }]))], {
      platform: other,
    });
    builder.name(builder.index([image, tar]));
    const reference = `oci:${at('layout')}:image`;
    await convertImage(reference, reference, { appendToIndex: true, allPlatforms: true });
    const { manifests } = await pushTrace(write('trace', traceOf('/x')), reference);
    expect(manifests).toHaveLength(2);
    expect(manifests[0]!.subject).toBe(image.digest);
    await pullTrace(reference, at('pulled'));
    const without = await caught(() => pullTrace(reference, at('pulled'), { platform: 'linux/s390x' }));
    expect(without).toMatchObject({ code: 'NOT_FOUND', why: 'no trace is attached to it' });
  });

  test('is refused an image of another platform, and other places are refused', async () => {
    const trace = write('trace', traceOf('/x', 'linux/s390x'));
    expect(await caught(() => pushTrace(trace, `oci:${at('layout')}`))).toMatchObject({ code: 'NOT_FOUND' });
    for (const place of ['oci-archive:x.tar', 'docker-archive:x.tar', 'erofs-cache:x', 'x.blob']) {
      expect(await caught(() => pushTrace(trace, place))).toMatchObject({ code: 'USAGE', what: place });
      expect(await caught(() => pullTrace(place, at('pulled')))).toMatchObject({
        code: 'USAGE',
        what: place,
      });
    }
    expect(await caught(() => pullTrace(`oci:${at('layout')}`, at('layout/index.json')))).toMatchObject({
      code: 'NOT_FOUND',
    });
    await pushTrace(write('mine', traceOf('/x')), `oci:${at('layout')}`);
    const onto = await caught(() => pullTrace(`oci:${at('layout')}`, at('layout/index.json')));
    expect(onto).toMatchObject({ code: 'USAGE' });
  });
});

describe('a registry', () => {
  let registry: FakeRegistry;
  let reference: string;
  beforeEach(async () => {
    registry = await FakeRegistry.start();
    reference = `docker://${registry.host}/team/app:v1`;
    const blobs = (digest: string): Buffer => readFileSync(at(`layout/blobs/sha256/${digest.slice(7)}`));
    const bytes = blobs(image.digest);
    const { config, layers } = JSON.parse(bytes.toString()) as { config: Descriptor; layers: Descriptor[] };
    for (const { digest } of [config, ...layers]) registry.putBlob('team/app', blobs(digest));
    registry.putManifest('team/app', 'v1', image.mediaType, bytes);
  });
  afterEach(async () => {
    await registry.stop();
  });

  const quick = { retry: { attempts: 1 } };
  const tag = (): string => `team/app ${image.digest.replace(':', '-')}`;

  test('that lists referrers has the newest, and no tag for them', async () => {
    registry.listsReferrers = true;
    await replaces(reference);
    expect(registry.manifests.has(tag())).toBe(false);
  });

  test('that does not has them under the tag that stands for the list', async () => {
    await replaces(reference);
    expect(registry.manifests.has(tag())).toBe(true);
    const { manifests } = JSON.parse(registry.manifests.get(tag())!.bytes.toString()) as {
      manifests: object[];
    };
    expect(manifests).toHaveLength(2);
    expect(manifests[0]).toMatchObject({ artifactType: 'application/vnd.seekable-erofs.trace.v1+json' });
    registry.takeCalls();
    await pullTrace(reference, at('pulled'));
    expect(registry.takeCalls().filter((call) => call.includes('tags/'))).toEqual([]);
  });

  test('has it by the name of what was recorded as well: a tag and a digest', async () => {
    const trace = write('trace', { ...traceOf('/x'), image: `${reference}@${image.digest}` });
    await pushTrace(trace, `${reference}@${image.digest}`);
    await pullTrace(reference, at('pulled'));
    expect(read('pulled')).toBe(read('trace'));
  });

  /** Lists an artifact of which some part is as given. */
  function list(changes: {
    subject?: Partial<Descriptor>;
    layer?: Partial<Descriptor>;
    bytes?: string;
  }): void {
    registry.listsReferrers = true;
    const bytes = Buffer.from(changes.bytes ?? serializeTrace(traceOf('/x')));
    const digest = registry.putBlob('team/app', bytes);
    registry.putManifest('team/app', 'artifact', mediaTypes.ociManifest, {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      artifactType: mediaTypes.trace,
      config: { mediaType: mediaTypes.ociEmpty, digest, size: 2 },
      layers: [{ mediaType: mediaTypes.trace, digest, size: bytes.length, ...changes.layer }],
      subject: { ...image, ...changes.subject },
    });
  }

  test.each<[string, Parameters<typeof list>[0], string]>([
    ['is larger than a trace can be', { layer: { size: 2 ** 40 } }, 'UNSUPPORTED'],
    [
      'has other bytes than its manifest says',
      { layer: { digest: `sha256:${'1'.repeat(64)}` } },
      'NOT_FOUND',
    ],
    ['is no trace', { bytes: '{"schema":1}' }, 'CORRUPT'],
    [
      'names a path that leads nowhere',
      { bytes: '{"schema":1,"image":"x","platform":"x","reads":[{"path":"x"}]}' },
      'CORRUPT',
    ],
    ['is of a later version', { bytes: '{"schema":2}' }, 'UNSUPPORTED'],
  ])('refuses a trace that %s', async (_, changes, code) => {
    list(changes);
    expect(await caught(() => pullTrace(reference, at('pulled'), quick))).toMatchObject({ code });
    expect(existsSync(at('pulled'))).toBe(false);
  });

  test('that has one of more bytes than who asks can use is not asked for it', async () => {
    list({});
    const store = await openStore(`docker://${registry.host}/team/app:v1`);
    registry.takeCalls();
    expect(await caught(() => findTrace(store, image.digest, 100))).toMatchObject({ code: 'UNSUPPORTED' });
    expect(registry.takeCalls().filter((call) => call.includes('/blobs/'))).toEqual([]);
    await store.close();
  });

  test('that gives other bytes than it should is found out', async () => {
    list({});
    const [digest] = [...registry.blobs.keys()].slice(-1);
    registry.blobs.set(digest!, Buffer.alloc(registry.blobs.get(digest!)!.length));
    expect(await caught(() => pullTrace(reference, at('pulled'), quick))).toMatchObject({ code: 'MISMATCH' });
  });

  test('that lists what is about another image is not believed', async () => {
    await pushTrace(write('trace', traceOf('/mine')), reference);
    const list = JSON.parse(registry.manifests.get(tag())!.bytes.toString()) as { manifests: Descriptor[] };
    const stranger = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        artifactType: mediaTypes.trace,
        config: list.manifests[0],
        layers: list.manifests,
        subject: { ...image, digest: `sha256:${'2'.repeat(64)}` },
      }),
    );
    const digest = registry.putManifest('team/app', 'stranger', mediaTypes.ociManifest, stranger);
    const annotations = { 'org.opencontainers.image.created': '2999-01-01T00:00:00Z' };
    const entry = { ...list.manifests[0], digest, size: stranger.length, annotations };
    const gone = { ...entry, digest: `sha256:${'3'.repeat(64)}` };
    const manifests = [...list.manifests, entry, gone];
    registry.putManifest('team/app', tag().split(' ')[1]!, mediaTypes.ociIndex, { ...list, manifests });
    await pullTrace(reference, at('pulled'));
    expect(read('pulled')).toBe(read('trace'));
  });

  test('whose lists never end, or that fails, is given up', async () => {
    registry.listsReferrers = true;
    registry.misbehave = ({ path, query }, response) => {
      if (!path.includes('/referrers/')) return false;
      const page = Number(query.get('page') ?? 0) + 1;
      response.writeHead(200, { link: `</v2/${path}?page=${page}>; rel="next"` });
      response.end(JSON.stringify({ schemaVersion: 2, manifests: [] }));
      return true;
    };
    const endless = await caught(() => pullTrace(reference, at('pulled'), quick));
    expect(endless).toMatchObject({ code: 'UNSUPPORTED' });
    registry.misbehave = ({ path }, response) => {
      if (path.includes('/referrers/')) refuse(response, 403, 'DENIED');
      return path.includes('/referrers/');
    };
    expect(await caught(() => pullTrace(reference, at('pulled'), quick))).toMatchObject({ code: 'IO' });
  });
});

const reason = whyWithout('docker-registry');

describe.skipIf(reason !== null)(titleOf("Docker's registry", reason), () => {
  let registry: DockerRegistry;
  let store: string;
  beforeAll(async () => {
    store = mkdtempSync(join(tmpdir(), 'trace-registry-'));
    registry = await DockerRegistry.start(store);
  });
  afterAll(async () => {
    await registry.stop();
    rmSync(store, { recursive: true });
  });

  test('keeps traces of an image and of its conversion', async () => {
    const reference = `docker://${registry.host}/app:erofs`;
    await convertImage(`oci:${at('layout')}`, reference);
    await replaces(reference);
  });
});

describe('the share of its image', () => {
  const shared = (reads: Trace['reads'], name: string): Trace => ({ ...traceOf('/x'), image: name, reads });
  const part = traceOf('/file').reads[0]!;

  test('is asked of the image, and so are the sizes of files that were read whole', async () => {
    const tar = tarBytes([
      { name: 'file', content: 'x'.repeat(10_000) },
      { name: 'whole', content: 'y'.repeat(20_000) },
    ]);
    builder.name(
      builder.image([builder.tarLayer(tar), builder.tarLayer(tarBytes([{ name: 'top', content: 'z' }]))]),
    );
    const place = `oci:${at('erofs')}:image`;
    const { digest, manifests } = await convertImage(`oci:${at('layout')}`, place);
    const reads = [part, { ...part, path: '/whole', ranges: [] }, { ...part, path: '/gone', ranges: [] }];
    const imageBytes = manifests[0]!.layers.reduce((sum, layer) => sum + layer.uncompressedSize!, 0);
    expect(await traceShare(shared(reads, `${place}@${digest!}`))).toEqual({ bytesRead: 20_001, imageBytes });
    const other = await caught(() => traceShare(shared(reads, `${place}@sha256:${'4'.repeat(64)}`)));
    expect(other).toMatchObject({ code: 'MISMATCH' });
  });

  test('is not known of an image of tars, or one that is away', async () => {
    const tars = shared([part], `oci:${at('layout')}:image@${image.digest}`);
    expect(await caught(() => traceShare(tars))).toMatchObject({ code: 'USAGE' });
    const away = shared([part], `docker://127.0.0.1:1/app:v1@${image.digest}`);
    expect(await caught(() => traceShare(away))).toMatchObject({ code: 'IO' });
  });
});
