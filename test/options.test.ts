import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as library from '../src/index';
import { checkSubjects } from '../src/image/subject';
import { closestName } from '../src/closest-name';
import { optionsOf } from '../src/options';
import { refusal } from './support/refusal';
import { tarBytes } from './support/tar-bytes';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'options-'));
  writeFileSync(join(folder, 'tar'), tarBytes([{ name: 'f', content: 'x' }]));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const at = (name: string): string => join(folder, name);

const blob = { mediaType: 'm', digest: `sha256:${'0'.repeat(64)}`, size: 1 };
const nothing = {
  name: 'nothing',
  size: 0,
  read: () => Promise.reject(new Error('read')),
  close: () => Promise.resolve(),
};

/** Every call that takes options, with these. */
const calls: Record<keyof typeof optionsOf, (options: object) => Promise<unknown>> = {
  buildErofs: (options) => library.buildErofs(at('tar'), at('out'), options),
  encodeLayer: (options) => library.encodeLayer(at('tar'), at('out'), options),
  convertImage: (options) => library.convertImage(`oci:${at('in')}`, `oci:${at('out')}`, options),
  convertBatch: (options) => library.convertBatch(at('list'), options),
  queueBatch: (options) => library.queueBatch(at('list'), options),
  runWorker: (options) => library.runWorker('redis://127.0.0.1:1', options),
  serveHooks: (options) =>
    library.serveHooks({
      listen: '127.0.0.1:0',
      policy: at('policy'),
      queue: 'redis://127.0.0.1:1',
      ...options,
    }),
  decodeBlob: (options) => library.decodeBlob(at('tar'), at('out'), options),
  verifyImage: (options) => library.verifyImage(at('tar'), options),
  checkImage: (options) => library.checkImage(at('tar'), at('tar'), options),
  inspect: (options) => library.inspect(at('tar'), options),
  writeImagePage: (options) => library.writeImagePage(at('tar'), at('page.html'), options),
  listEntries: (options) => library.listImage(at('tar'), '/', options),
  readImageFile: (options) => library.readImageFile(at('tar'), '/f', () => Promise.resolve(true), options),
  extractImage: (options) => library.extractImage(at('tar'), at('out'), options),
  mountImage: (options) => library.mountImage(at('tar'), at('out'), options),
  runImage: (options) => library.runImage(at('tar'), [], options),
  unmountImage: (options) => library.unmountImage(at('out'), options),
  listMounts: (options) => library.listMounts(options),
  repairMounts: (options) => library.repairMounts(options),
  doctor: (options) => library.doctor(options),
  serveLazily: (options) => library.serveLazily(options),
  addLazyImage: (options) => library.addLazyImage(`oci:${at('in')}`, options),
  removeLazyImage: (options) => library.removeLazyImage(`oci:${at('in')}`, options),
  listLazyImages: (options) => library.listLazyImages(options),
  pushTrace: (options) => library.pushTrace(at('tar'), `oci:${at('in')}`, options),
  traceShare: (options) => library.traceShare({ schema: 1, image: 'x', platform: 'x', reads: [] }, options),
  pullTrace: (options) => library.pullTrace(`oci:${at('in')}`, at('out'), options),
  openBlob: (options) => library.openBlob(at('tar'), options),
  openErofsSource: (options) => library.openErofsSource(at('tar'), options),
  openRegistryBlob: (options) => library.openRegistryBlob('docker://127.0.0.1:1/a', blob, options),
  openErofs: (options) => library.openErofs(nothing, options),
  verityTree: (options) => library.verityTree(at('tar'), options),
  verityRoot: (options) => library.verityRoot(at('tar'), options),
};

describe.each(Object.entries(calls))('%s', (name, call) => {
  it('refuses names that it does not know, and says what was meant', async () => {
    const [known] = Object.keys(optionsOf[name as keyof typeof optionsOf]);
    await expect(call({ [`${known}x`]: 1 })).rejects.toMatchObject({
      code: 'USAGE',
      what: name,
      why: `there is no option "${known}x"`,
      hint: `did you mean "${known}"?`,
    });
    await expect(call({ xyzzy: 1 })).rejects.toEqual(refusal('USAGE', 'no option "xyzzy"'));
  });
});

const usesThreads = (name: string): boolean => 'threads' in optionsOf[name as keyof typeof optionsOf];

describe.each(Object.entries(calls).filter(([name]) => usesThreads(name)))('%s', (_, call) => {
  it.each([-1, 0, 1e9, 1.5, NaN, '2', null])('refuses %s threads', async (threads) => {
    await expect(call({ threads })).rejects.toEqual(refusal('USAGE', 'threads'));
    expect(readdirSync(folder)).toEqual(['tar']);
  });
});

describe('options of a conversion', () => {
  it.each([
    [{ dmVerity: 'yes' }, '"dmVerity" must be true or false, not "yes"'],
    [{ dmVerity: 1 }, '"dmVerity" must be true or false, not 1'],
    [{ profile: 'docker' }, '"profile" must be containerd or erofs-image-spec, not "docker"'],
    [{ platforms: 'linux/amd64' }, '"platforms" must be a list of texts, not "linux/amd64"'],
    [{ concurrency: 0 }, '"concurrency" must be a number from 1 to 1024, not 0'],
    [{ level: {} }, '"level" must be a whole number, not a map'],
    [{ retryTime: -1 }, '"retryTime" must be 0 or more, not -1'],
    [{ onProgress: true }, '"onProgress" must be a function, not true'],
  ])('%j', async (options, why) => {
    await expect(calls.convertImage(options)).rejects.toMatchObject({ code: 'USAGE', why });
  });

  it('are known by their exact names', async () => {
    const hint = 'did you mean "dmVerity"?';
    for (const name of ['dmverity', 'dm-verity', 'dmVerty']) {
      await expect(calls.encodeLayer({ [name]: true })).rejects.toMatchObject({ code: 'USAGE', hint });
    }
  });

  it.each([
    [{ dmVerityBlockSize: 4096 }, 'without dm-verity'],
    [{ dmVerityHash: 'sha512' }, 'without dm-verity'],
    [{ dmVerityHash: 'sha512', dmVerity: false }, 'without dm-verity'],
    [{ profile: 'erofs-image-spec', noCompress: true, level: 5 }, 'nothing is compressed'],
  ])('that do nothing are refused: %j', async (options, why) => {
    for (const call of [calls.convertImage, calls.encodeLayer]) {
      await expect(call(options)).rejects.toEqual(refusal('USAGE', why));
    }
    writeFileSync(at('list'), JSON.stringify([{ source: 'oci:a:a', destination: 'oci:b:b' }]));
    await expect(calls.convertBatch({ defaults: options })).rejects.toEqual(refusal('USAGE', why));
    rmSync(at('list'));
  });
});

describe('options that can do nothing for what is named are refused:', () => {
  const ofRegistries = [
    { authFile: 'auth.json' },
    { certDir: 'certs' },
    { insecureHttp: true },
    { concurrency: 2 },
    { retryTime: 5 },
  ];
  const layout = 'oci:no-such-layout';
  const onPlaces: [string, (options: object) => Promise<unknown>][] = [
    ['convertImage', calls.convertImage],
    ['verifyImage', (options) => library.verifyImage(layout, options)],
    ['verifyImage of a layer', calls.verifyImage],
    ['checkImage', (options) => library.checkImage(layout, layout, options)],
    ['checkImage of layers', calls.checkImage],
    ['inspect', (options) => library.inspect(layout, options)],
    ['listImage', calls.listEntries],
    ['listImage of a URL', (options) => library.listImage('http://127.0.0.1:1/blob', '/', options)],
    ['readImageFile', calls.readImageFile],
    ['extractImage', calls.extractImage],
    ['mountImage', calls.mountImage],
    ['runImage', calls.runImage],
  ];

  it.each(onPlaces)('%s: those of registries where none is spoken to', async (_, call) => {
    for (const options of ofRegistries)
      await expect(call(options)).rejects.toEqual(refusal('USAGE', 'no registry'));
  });

  it('not those of registries where one side of a conversion is in one', async () => {
    const [layout, registry] = [`oci:${at('none')}`, 'docker://127.0.0.1:1/repo:tag'];
    for (const [from, to] of [
      [layout, registry],
      [registry, layout],
    ] as const) {
      const attempt = library.convertImage(from, to, { insecureHttp: true, retryTime: 0 });
      await expect(attempt).rejects.toMatchObject({ code: expect.not.stringContaining('USAGE') as string });
    }
  });

  it('nor where mirrors are', () => {
    checkSubjects([layout], { mirrors: ['registry.example'], insecureHttp: true });
  });

  it.each([
    ['verifyImage', calls.verifyImage, { platforms: ['linux/amd64'] }],
    ['inspect', calls.inspect, { platforms: ['linux/amd64'] }],
    ['checkImage', calls.checkImage, { platforms: ['linux/amd64'] }],
    ['listImage', calls.listEntries, { platform: 'linux/amd64' }],
    ['mountImage', calls.mountImage, { platform: 'linux/amd64' }],
  ])('%s: platforms of a layer', async (_, call, options) => {
    await expect(call(options)).rejects.toEqual(refusal('USAGE', 'a single layer has no platform'));
  });

  it('descriptors of images', async () => {
    for (const call of [library.verifyImage, library.inspect])
      await expect(call(layout, { descriptor: blob })).rejects.toEqual(refusal('USAGE', 'descriptors'));
  });

  it('what is about manifests, indexes and frames, of a conversion to a layer content cache', async () => {
    for (const options of [
      ...[{ appendToIndex: true }, { osFeatures: true }, { replace: true }, { level: 3 }, { cache: 'c' }],
      ...[{ chunkSize: '1MiB' }, { profile: 'erofs-image-spec', index: 'standalone' }],
    ]) {
      const attempt = library.convertImage(layout, `erofs-cache:${at('out')}`, options);
      await expect(attempt).rejects.toEqual(refusal('USAGE', 'a cache has'));
    }
  });

  it('the state folder of doctor, which repairs alone use', async () => {
    await expect(library.doctor({ state: at('state') })).rejects.toEqual(refusal('USAGE', 'only repairs'));
  });
});

it('names that are nothing like any known one suggest nothing', () => {
  expect(closestName('Dm_Verity', ['dmVerity', 'level'])).toBe('dmVerity');
  expect(closestName('levle', ['dmVerity', 'level'])).toBe('level');
  expect(closestName('ab', ['abcdef', 'cd'])).toBeUndefined();
  expect(closestName('', ['x'])).toBeUndefined();
});

/** That the table has every option of the types, and no other: a compiler's error here is a line that is missing there. */
type Same<A, B> = [Exclude<A, B>, Exclude<B, A>] extends [never, never]
  ? true
  : [Exclude<A, B>, Exclude<B, A>];
type Table = typeof optionsOf;
const complete: {
  build: Same<keyof library.BuildOptions, keyof Table['buildErofs']>;
  encode: Same<keyof library.EncodeOptions, keyof Table['encodeLayer']>;
  convert: Same<keyof library.ConvertOptions, keyof Table['convertImage']>;
  batch: Same<keyof library.BatchOptions, keyof Table['convertBatch']>;
  decode: Same<keyof library.DecodeOptions, keyof Table['decodeBlob']>;
  check: Same<keyof library.CheckOptions, keyof Table['checkImage']>;
  inspect: Same<keyof library.InspectOptions, keyof Table['inspect']>;
  writeImagePage: Same<keyof library.ImagePageOptions, keyof Table['writeImagePage']>;
  extract: Same<keyof library.ExtractOptions, keyof Table['extractImage']>;
  mount: Same<keyof library.MountOptions, keyof Table['mountImage']>;
  run: Same<keyof library.RunOptions, keyof Table['runImage']>;
  unmount: Same<keyof library.StateOptions, keyof Table['unmountImage']>;
  doctor: Same<keyof library.DoctorOptions, keyof Table['doctor']>;
  serve: Same<keyof library.ServeOptions, keyof Table['serveLazily']>;
  addLazy: Same<keyof library.AddLazyImageOptions, keyof Table['addLazyImage']>;
  lazyImages: Same<keyof library.LazyImagesOptions, keyof Table['listLazyImages']>;
  blob: Same<keyof library.BlobOptions, keyof Table['openBlob']>;
  source: Same<keyof library.ErofsSourceOptions, keyof Table['openErofsSource']>;
  registry: Same<keyof library.StoreOptions, keyof Table['openRegistryBlob']>;
  erofs: Same<keyof library.OpenErofsOptions, keyof Table['openErofs']>;
  verity: Same<keyof library.VerityOptions, keyof Table['verityRoot']>;
} = {
  build: true,
  encode: true,
  convert: true,
  batch: true,
  decode: true,
  check: true,
  inspect: true,
  writeImagePage: true,
  extract: true,
  mount: true,
  run: true,
  unmount: true,
  doctor: true,
  serve: true,
  addLazy: true,
  lazyImages: true,
  blob: true,
  source: true,
  registry: true,
  erofs: true,
  verity: true,
};

it('the table has every option of every call', () => {
  expect(Object.values(complete)).not.toContain(false);
});
