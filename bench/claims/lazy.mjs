// Claim: a container starts before its image is here, sooner than with anybody else, and nothing else is slower for it.
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { doors } from '../lib/lazy-doors.mjs';
import { coldOurs } from '../lib/lazy-ours.mjs';
import { bytesOf, lazyImages, PROGRAMS, upgradedTar } from '../lib/lazy-images.mjs';
import {
  laidOut,
  layoutCase,
  orderCase,
  tags,
  traceContestants,
  updateCase,
  updated,
} from '../lib/lazy-layout.mjs';
import { fingerprint, LazyRegistry, registryMissing, NETWORKS } from '../lib/lazy-registry.mjs';
import { rivals } from '../lib/lazy-rivals.mjs';
import { snapshotterVersions } from '../lib/snapshotters.mjs';
import { sequentialCase } from '../lib/lazy-sequential.mjs';
import { returnsCase } from '../lib/lazy-returns.mjs';
import { quoted } from '../lib/programs.mjs';

export const title =
  'lazy: from nothing to the first output of a program in a container, through a slow network; rivals go through containerd, ours does not';

const IMAGES = ['python', 'node'];

export async function* cases(context) {
  const missing = process.getuid() === 0 ? registryMissing(context.directory) : 'mounts need root';
  if (missing) {
    console.log(`  skipped: ${missing}`);
    return;
  }
  const registry = await LazyRegistry.start(context.directory);
  try {
    const tars = lazyImages(context.directory);
    for (const name of IMAGES) {
      const plain = await pushed(context, registry, name, tars[name]);
      const image = laidOut(context, registry, plain, context.chunkSize);
      for (const network of NETWORKS) yield coldStart(context, registry, image, network);
      yield await orderCase(context, image, tars[name]);
      if (name !== 'python') continue;
      for (const network of NETWORKS) yield wholeImage(context, registry, image, network);
      yield layoutCase(context, registry, image, NETWORKS[0]);
      yield* updateCases(context, registry, image);
    }
    yield await returnsCase(context, registry);
    yield await sequentialCase(context, registry);
  } finally {
    registry.stop();
  }
}

/** The image with Python after its packages were upgraded: what an earlier trace is worth then. */
async function* updateCases(context, registry, earlier) {
  const { tar, missing } = upgradedTar(context.directory);
  if (missing !== undefined) {
    console.log(`  update: skipped, ${missing}`);
    return;
  }
  const image = updated(context, registry, await pushed(context, registry, 'python', [tar]), earlier);
  for (const network of NETWORKS) yield updateCase(context, registry, image, network);
}

/** Puts an image into the registry: as tar.gz, and as our blobs. */
async function pushed(context, registry, name, tars) {
  const parts = tars.map((path) => [path, statSync(path).size, statSync(path).mtimeMs]);
  const repository = `lazy/${name}-${fingerprint(parts, snapshotterVersions)}`;
  if (!(await registry.has(repository, 'tar'))) {
    const { path } = await context.inputs.layout(tars, 'gzip');
    await registry.push(path, repository, 'tar');
  }
  const { chunkSize } = context;
  for (const size of new Set([chunkSize, '4MiB'])) {
    const [source, target] = ['tar', `ours-${size}`].map(
      (tag) => `docker://${registry.host}/${repository}:${tag}`,
    );
    const [program, ...args] = context.ours(['convert', source, target, '--chunk-size', size, '--quiet']);
    execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  }
  return { name, repository, program: PROGRAMS[name], bytes: bytesOf(tars), layers: tars.length };
}

const referenceOf = (registry, { repository }, size) =>
  `docker://${registry.slowHost}/${repository}:ours-${size}`;
const inputOf = ({ name, bytes, layers }) => ({ label: `image with ${name}, ${layers} layers`, bytes });

function coldStart(context, registry, image, network) {
  const start = (key, label, size, { lazy, serves, isFirst = false }) =>
    coldOurs(context, registry, {
      key,
      label,
      network,
      serves,
      mounted: serves && !isFirst ? `docker://${registry.host}/${image.repository}:ours-${size}` : undefined,
      action: (state) =>
        state.command(
          'run',
          ...(lazy ? ['--lazy'] : []),
          referenceOf(registry, image, size),
          '--',
          ...image.program,
        ),
    });
  const { chunkSize } = context;
  return {
    name: `cold start, ${image.name}, ${network.name}`,
    input: inputOf(image),
    warm: false,
    contestants: [
      start('ours', `run --lazy, chunks of ${chunkSize}`, chunkSize, { lazy: true, serves: true }),
      start('oursFirst', 'the same, the first mount of its server', chunkSize, {
        lazy: true,
        serves: true,
        isFirst: true,
      }),
      start('oursStart', 'the same, the start of the server in it', chunkSize, { lazy: true, serves: false }),
      start('ours4MiB', 'run --lazy, chunks of 4MiB', '4MiB', { lazy: true, serves: true }),
      start('oursEager', 'run, all fetched before, chunks of 4MiB', '4MiB', { lazy: false, serves: false }),
      ...traceContestants(context, registry, image, network),
      ...doors(context, registry, image, network, tags.ordered(chunkSize)),
      ...rivals(context, registry, image, network),
    ],
  };
}

/** All that is in the image is read in the end. */
function wholeImage(context, registry, image, network) {
  const { chunkSize } = context;
  const read = (key, label, { lazy, reads = true }) =>
    coldOurs(context, registry, {
      key,
      label,
      network,
      serves: lazy,
      timed: false,
      action(state) {
        const reference = referenceOf(registry, image, chunkSize);
        const mount = state.command('mount', ...(lazy ? ['--lazy'] : []), reference, state.at('mnt'));
        const tar = ['tar', '-C', state.at('mnt'), '-cf', '-', '.'];
        const all = reads ? ` && ${quoted(tar)} | cat >/dev/null` : '';
        return ['sh', '-c', `${quoted(mount)} >/dev/null${all}`];
      },
    });
  return {
    name: `whole image, ${network.name}`,
    input: inputOf(image),
    warm: false,
    contestants: [
      read('ours', 'mount --lazy, then tar of all files', { lazy: true }),
      read('eagerRead', 'mount, all fetched before, then tar of all files', { lazy: false }),
      read('eager', 'mount, all fetched before, nothing read', { lazy: false, reads: false }),
    ],
  };
}
