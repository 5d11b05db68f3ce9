// Images that are laid out by what their program read, for the claims `lazy` and `chunk-size`: recorded, converted, and how they start.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { coldOurs, OurState } from './lazy-ours.mjs';
import { quoted } from './programs.mjs';

/** A reference of an image (`{repository}`) under a tag of the registry at `host`. */
export const tagged = (host, { repository }, tag) => `docker://${host}/${repository}:${tag}`;

/** What each form of an image is called in the registry. */
export const tags = {
  plain: (size) => `ours-${size}`,
  ordered: (size) => `ordered-${size}`,
};

/** Converts an image of the registry from its tar.gz into `tag`. */
export function converted(context, registry, image, tag, ...flags) {
  const [source, target] = ['tar', tag].map((name) => tagged(registry.host, image, name));
  const [program, ...args] = context.ours(['convert', source, target, '--quiet', ...flags]);
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** Records what the program of an image reads at its start, of the form with chunks of `size`. Returns the trace's file. */
export function recorded(context, registry, image, size) {
  const state = new OurState(context);
  const file = join(context.directory, `lazy-${image.repository.replaceAll('/', '-')}.trace`);
  try {
    state.renew();
    state.run(
      'run',
      '--record',
      file,
      tagged(registry.host, image, tags.plain(size)),
      '--',
      ...image.program,
    );
  } finally {
    state.clear();
  }
  return file;
}

/** An image that was recorded and laid out: the trace's file is its `trace`. */
export function laidOut(context, registry, image, size) {
  const trace = recorded(context, registry, image, size);
  converted(context, registry, image, tags.ordered(size), '--chunk-size', size, '--order', trace);
  return { ...image, trace };
}

/** `run --lazy` of a form of an image, with a server that runs already. */
export function coldRun(context, registry, { image, network, key, label, tag, flags = [], mounted }) {
  const action = (state) =>
    state.command('run', '--lazy', ...flags, tagged(registry.slowHost, image, tag), '--', ...image.program);
  return coldOurs(context, registry, { key, label, network, serves: true, mounted, action });
}

/** The starts of a laid out image, and of one that is not and whose trace is given to the mount. */
export function traceContestants(context, registry, image, network) {
  const { chunkSize } = context;
  const start = (key, label, form, flags) => {
    const tag = tags[form](chunkSize);
    const mounted = tagged(registry.host, image, tag);
    return coldRun(context, registry, { image, network, key, label, tag, flags, mounted });
  };
  return [
    start('ordered', `run --lazy, laid out by a recorded trace (--order), chunks of ${chunkSize}`, 'ordered'),
    start('traced', 'run --lazy, not laid out, its trace given (--prefetch)', 'plain', [
      '--prefetch',
      image.trace,
    ]),
  ];
}

/** What is fetched of a laid out image until its program has printed, against what the kernel asked for. */
export function layoutCase(context, registry, image, network) {
  const state = new OurState(context);
  const reference = tagged(registry.slowHost, image, tags.ordered(context.chunkSize));
  const target = state.at('mnt');
  const mount = state.command('mount', '--lazy', '--background', 'off', '--verity', 'off', reference, target);
  const script = [
    `${quoted(mount)} >/dev/null`,
    `chroot ${quoted([target, ...image.program])} >/dev/null`,
    quoted(state.command('mounts', '--json')),
    `${quoted(state.command('umount', target))} >/dev/null`,
  ];
  return {
    name: `layout, ${image.name}`,
    input: { label: `image with ${image.name}, mounted and its program run by chroot`, bytes: image.bytes },
    warm: false,
    contestants: [
      {
        key: 'ordered',
        label: `laid out by a recorded trace, chunks of ${context.chunkSize}`,
        argv: ['sh', '-ec', script.join('\n')],
        async before() {
          state.renew();
          await registry.setNetwork(network);
        },
        result: async (output) => ({ counts: countsOf(output), traffic: await registry.counts() }),
        after: () => state.clear(),
      },
    ],
  };
}

/** Of the document of `mounts`. */
function countsOf(output) {
  const layers = JSON.parse(output)[0].layers.map(({ lazy }) => lazy);
  const sum = (key) => layers.reduce((total, layer) => total + layer[key], 0);
  return {
    'bytes fetched of those asked for': sum('bytesPresent') / sum('bytesRead'),
    'requests of a layer beside its table': Math.max(...layers.map(({ requests }) => requests)),
  };
}

/** The trace of an image starts its next build: laid out by it, against laid out by a trace of its own. */
export function updateCase(context, registry, image, network) {
  const { chunkSize } = context;
  const start = (key, label, tag) => {
    const mounted = tagged(registry.host, image, tag);
    return coldRun(context, registry, { image, network, key, label, tag, mounted });
  };
  return {
    name: `update, ${image.name}, ${network.name}`,
    input: { label: `image with ${image.name}, its packages upgraded`, bytes: image.bytes },
    warm: false,
    contestants: [
      start('ours', 'run --lazy, laid out by the trace from before the update', earlierTag(chunkSize)),
      start('fresh', 'run --lazy, laid out by a trace of its own', tags.ordered(chunkSize)),
      start('plain', 'run --lazy, not laid out', tags.plain(chunkSize)),
    ],
  };
}

const earlierTag = (size) => `ordered-earlier-${size}`;

/** An image after an update: laid out by its own trace, and by that of the image before. */
export function updated(context, registry, image, earlier) {
  const { chunkSize } = context;
  const laid = laidOut(context, registry, image, chunkSize);
  converted(
    context,
    registry,
    image,
    earlierTag(chunkSize),
    '--chunk-size',
    chunkSize,
    '--order',
    earlier.trace,
  );
  return laid;
}

/** Whether an order costs time when an image is converted. */
export async function orderCase(context, image, tars) {
  const source = await context.inputs.layout(tars, 'none');
  const convert = (key, label, ...flags) => {
    const folder = context.inputs.scratch(`order-${key}`);
    const size = ['--chunk-size', context.chunkSize, '--quiet'];
    return {
      key,
      label,
      argv: context.ours(['convert', `oci:${source.path}:bench`, `oci:${folder}:${key}`, ...size, ...flags]),
      after: () => context.inputs.removeScratch(`order-${key}`),
    };
  };
  return {
    name: `convert --order, ${image.name}`,
    input: { label: `image with ${image.name}, tars`, bytes: image.bytes },
    contestants: [convert('ours', 'convert --order', '--order', image.trace), convert('plain', 'convert')],
  };
}
