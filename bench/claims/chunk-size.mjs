// Claim: the chunk size that is the default starts containers about as soon as any, and costs neither size nor speed.
import { statSync } from 'node:fs';
import { bytesOf, lazyImages, PROGRAMS } from '../lib/lazy-images.mjs';
import { coldRun, converted, recorded, tagged, tags } from '../lib/lazy-layout.mjs';
import { fingerprint, LazyRegistry, registryMissing, NETWORKS } from '../lib/lazy-registry.mjs';
import { snapshotterVersions } from '../lib/snapshotters.mjs';

export const title = 'chunk-size: starts, blob sizes and conversions by the size of chunks';

const SIZES = ['64KiB', '128KiB', '256KiB', '512KiB', '1MiB', '4MiB'];
/** How an image is started: what it is made with, and what the mount is told. */
const FORMS = [
  { form: 'ordered', label: 'laid out by a trace (--order)', tag: tags.ordered },
  { form: 'traced', label: 'not laid out, its trace given (--prefetch)', tag: tags.plain, isTraced: true },
  { form: 'plain', label: 'neither', tag: tags.plain, flags: ['--prefetch', 'none'] },
];

export async function* cases(context) {
  const missing = process.getuid() === 0 ? registryMissing(context.directory) : 'mounts need root';
  if (missing) {
    console.log(`  skipped: ${missing}`);
    return;
  }
  const registry = await LazyRegistry.start(context.directory);
  try {
    const image = await pushed(context, registry, lazyImages(context.directory).python);
    const trace = forms(context, registry, image);
    for (const network of NETWORKS) yield starts(context, registry, { ...image, trace }, network);
    yield await conversions(context, image);
  } finally {
    registry.stop();
  }
}

async function pushed(context, registry, tars) {
  const parts = tars.map((path) => [path, statSync(path).size, statSync(path).mtimeMs]);
  const repository = `lazy/python-${fingerprint(parts, snapshotterVersions)}`;
  if (!(await registry.has(repository, 'tar'))) {
    const { path } = await context.inputs.layout(tars, 'gzip');
    await registry.push(path, repository, 'tar');
  }
  return { name: 'python', repository, tars, program: PROGRAMS.python, bytes: bytesOf(tars) };
}

/** Puts all forms of the image into the registry. Returns the trace that they are laid out by. */
function forms(context, registry, image) {
  let trace;
  for (const size of SIZES) {
    converted(context, registry, image, tags.plain(size), '--chunk-size', size);
    trace ??= recorded(context, registry, image, size); // of the smallest chunks
    converted(context, registry, image, tags.ordered(size), '--chunk-size', size, '--order', trace);
  }
  return trace;
}

function starts(context, registry, image, network) {
  const contestants = SIZES.flatMap((size) =>
    FORMS.map(({ form, label, tag, isTraced, flags = [] }) =>
      coldRun(context, registry, {
        image,
        network,
        key: `${form} ${size}`,
        label: `chunks of ${size}, ${label}`,
        tag: tag(size),
        flags: isTraced ? ['--prefetch', image.trace] : flags,
        mounted: tagged(registry.host, image, tag(size)),
      }),
    ),
  );
  return {
    name: `start, ${network.name}`,
    input: { label: 'image with python', bytes: image.bytes },
    warm: false,
    contestants,
  };
}

async function conversions(context, { tars, bytes }) {
  const source = await context.inputs.layout(tars, 'none');
  return {
    name: 'convert',
    input: { label: 'image with python, a tar', bytes },
    contestants: SIZES.map((size) => ({
      key: size,
      label: `chunks of ${size}`,
      argv: context.ours([
        'convert',
        `oci:${source.path}:bench`,
        `oci:${context.inputs.scratch(`chunks-${size}`)}:x`,
        ...['--chunk-size', size, '--json'],
      ]),
      result: (output) => ({ bytes: sizeOf(JSON.parse(output)) }),
      after: () => context.inputs.removeScratch(`chunks-${size}`),
    })),
  };
}

const sizeOf = ({ manifests }) => manifests[0].layers.reduce((sum, { size }) => sum + size, 0);

/** The table of docs/performance.md: medians. */
export function derive(cases) {
  const rowOf = (name, key) =>
    cases.find((item) => item.name === name)?.contestants.find((contestant) => contestant.key === key);
  const seconds = (name, key) => rowOf(name, key)?.seconds?.median.toFixed(2) ?? '';
  const head = [
    'chunk',
    ...NETWORKS.flatMap(({ name }) => FORMS.map(({ form }) => `s, ${form}, ${name}`)),
    'blob, MB',
    'convert, s',
  ];
  const rows = SIZES.map((size) => [
    size,
    ...NETWORKS.flatMap(({ name }) => FORMS.map(({ form }) => seconds(`start, ${name}`, `${form} ${size}`))),
    ((rowOf('convert', size)?.bytes ?? 0) / 1e6).toFixed(1),
    seconds('convert', size),
  ]);
  return { table: { head, rows } };
}
