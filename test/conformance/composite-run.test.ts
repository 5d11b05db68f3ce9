import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../e2e/run-cli';
import { at } from '../e2e/workspace';
import { writeErofs, type ErofsEntry } from '../support/erofs-writer';
import {
  embedded,
  erofsZstd,
  octets,
  raw,
  standalone,
  tar,
  zstdOnly,
  type VectorLayer,
} from '../support/vectors/layers';
import { data, device, lower } from '../support/vectors/vector';
import { LayoutBuilder } from './support/image';
import { processesOf } from './support/lazily';
import { run, titleOf, whyNoContainers, whyNoMounts, whyWithout } from './support/machine';
import { expectNothingLeft, library, state, support, useMounts } from './support/mounting';

// The claim: images of profile "erofs-image-spec" are run whatever they are made of, at once and lazily: their programs and files are read from devices and
// data-only layers, may be written to, and nothing is left of them.

const reason = whyNoContainers() ?? whyNoMounts() ?? whyWithout('gcc');

useMounts();
afterEach(() => {
  for (const name of ['keeper-main', 'server-main'])
    for (const pid of processesOf(name)) process.kill(pid, 'SIGKILL');
});

let compiled: string;
let program: Buffer;
beforeAll(() => {
  compiled = mkdtempSync(join(tmpdir(), 'composite-run-'));
  if (reason !== null) return;
  run('gcc', ['-static', '-Os', '-s', '-o', join(compiled, 'show'), join(support, 'show.c')]);
  program = readFileSync(join(compiled, 'show'));
});
afterAll(() => {
  rmSync(compiled, { recursive: true });
});

const note = 'the note of the image\n';
const others: ErofsEntry[] = [
  { path: 'etc/passwd', content: 'root:x:0:0::/:/bin/show\n' },
  ...['dev', 'proc', 'sys'].map((path): ErofsEntry => ({ path, type: 'dir' })),
];

/** A device with the program and the note, each from a block on, and the image that describes them. */
function onDevice(options: { number?: number; devices?: number } = {}): { bytes: Buffer; image: Buffer } {
  const { number = 1, devices = 1 } = options;
  const programBlocks = Math.ceil(program.length / 4096);
  const bytes = Buffer.alloc((programBlocks + 1) * 4096);
  program.copy(bytes);
  bytes.write(note, programBlocks * 4096);
  const blocks = Array.from({ length: programBlocks }, (_, block) => ({ device: number, block }));
  const entries: ErofsEntry[] = [
    { path: 'bin/show', mode: 0o755, blocks, size: program.length },
    { path: 'note', blocks: [{ device: number, block: programBlocks }], size: note.length },
    ...others,
  ];
  const table = Array.from({ length: devices }, () => ({ blocks: programBlocks + 1 }));
  return { bytes, image: writeErofs(entries, { devices: table }) };
}

const plain = (): Buffer =>
  writeErofs([
    { path: 'bin/show', mode: 0o755, content: program },
    { path: 'note', content: note },
    ...others,
  ]);

const metadata = (path: string, redirect: string, content: Buffer | string, mode = 0o644): ErofsEntry => ({
  path,
  mode,
  size: Buffer.from(content).length,
  xattrs: { 'trusted.overlay.metacopy': '', 'trusted.overlay.redirect': redirect },
});
const described = (): Buffer =>
  writeErofs([
    metadata('bin/show', '/objects/1', program, 0o755),
    metadata('note', '/objects/2', note),
    ...others,
  ]);
const objects = (): Buffer =>
  writeErofs([
    { path: 'objects/1', content: program },
    { path: 'objects/2', content: note },
  ]);
const hidden = (): Buffer => writeErofs([{ path: 'note', type: 'char', mode: 0 }]);
const later = (): Buffer => writeErofs([{ path: 'note', content: note }]);

const images: Record<string, () => VectorLayer[]> = {
  'one raw layer': () => [raw(plain())],
  'one layer with an index': () => [embedded(plain(), true)],
  'three layers, one of them of whiteouts': () => [
    raw(plain(), lower),
    embedded(hidden(), true, lower),
    raw(later()),
  ],
  'lone indexes': () => [...standalone(plain(), erofsZstd, lower), embedded(later(), true)],
  'a raw device': () => [raw(onDevice().bytes, device, octets), raw(onDevice().image)],
  'a device of tar+zstd': () => {
    const { bytes, image } = onDevice();
    return [zstdOnly(bytes, `${tar}+zstd`, device), embedded(image, true)];
  },
  'a device with an index': () => [
    ...standalone(onDevice().bytes, `${tar}+zstd`, device),
    embedded(onDevice().image, true),
  ],
  'two devices': () => {
    const { bytes, image } = onDevice({ number: 2, devices: 2 });
    const unused = zstdOnly(Buffer.alloc(bytes.length), 'x/y+zstd', device);
    return [unused, raw(bytes, device, octets), raw(image)];
  },
  'a device of the lowest of two layers': () => [
    ...standalone(onDevice().bytes, octets, device),
    embedded(onDevice().image, true, lower),
    raw(later()),
  ],
  'a data-only layer': () => [embedded(objects(), true, data), embedded(described(), true)],
  'a data-only layer without an index, and a layer above': () => [
    raw(described(), lower),
    raw(objects(), data),
    raw(writeErofs([{ path: 'more', content: 'x' }])),
  ],
};

function write(layers: readonly VectorLayer[], config: object): string {
  mkdirSync(at('layout'));
  const builder = new LayoutBuilder(at('layout'));
  const stored = layers.map(({ blob, mediaType, annotations, diffId }) => ({
    descriptor: { ...builder.put(mediaType, blob), annotations },
    diffId,
  }));
  const own = { 'os.features': ['erofs'], config: { Cmd: ['/bin/show', '/note'] }, ...config };
  builder.name(builder.image(stored, { config: own }));
  return `oci:${at('layout')}:image`;
}

const flags = (...more: string[]): string[] => ['--allow-unverified', '--state', state, ...more];

async function expectRun(reference: string, lazy: string[]): Promise<void> {
  const first = await runCli(['run', ...flags(...lazy), reference]);
  expect(first.stdout.toString(), first.stderr).toBe(note);
  expect(first.exitCode).toBe(0);
  // What a container writes stays its own.
  const writing = ['run', ...flags(...lazy), reference, '--', '/bin/show', '+/note'];
  for (let i = 0; i < 2; i++) {
    const second = await runCli(writing);
    expect(second.stdout.toString(), second.stderr).toBe(`${note}and more\n`);
  }
}

describe.skipIf(reason !== null)(titleOf('run', reason), () => {
  describe.each(Object.entries(images))('of %s', (_, layers) => {
    it('starts at once', async () => {
      await expectRun(write(layers(), {}), []);
      await expectNothingLeft();
    });

    it('starts lazily', async () => {
      await expectRun(write(layers(), {}), ['--lazy']);
      expect(await library.listMounts({ state })).toEqual([]);
    });
  });

  it.each([
    ['at once', []],
    ['lazily', ['--lazy']],
  ])('of an image without rootfs starts %s', async (_, lazy) => {
    await expectRun(write([raw(plain())], { rootfs: undefined }), lazy);
    rmSync(at('layout'), { recursive: true });
    await expectRun(
      write([embedded(plain(), true, lower), raw(later())], { rootfs: { type: 'layers' } }),
      lazy,
    );
  });
});
