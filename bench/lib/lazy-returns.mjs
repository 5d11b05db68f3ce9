// A case of the claim `lazy`: how long a lazy mount takes to return, against an eager one whose layers are here already.
import { execFileSync } from 'node:child_process';
import { corpusTars } from './corpus.mjs';
import { bytesOf } from './lazy-images.mjs';
import { OurState } from './lazy-ours.mjs';

const SHARES = [0.4, 0.25, 0.15, 0.12, 0.08];
const ROUNDS = 20;

export async function returnsCase(context, registry) {
  const tars = corpusTars(context.directory, 'usr', context.megabytes, SHARES);
  const source = await context.inputs.layout(tars, 'none');
  const reference = `docker://${registry.host}/lazy/returns:ours`;
  const size = ['--chunk-size', context.chunkSize, '--quiet'];
  const [program, ...args] = context.ours(['convert', `oci:${source.path}:bench`, reference, ...size]);
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  return {
    name: 'mount returns',
    input: { label: `image of ${tars.length} layers, registry on loopback`, bytes: bytesOf(tars) },
    runs: Math.max(ROUNDS, context.runs),
    contestants: [
      lazilyAgain(context, reference),
      lazily(context, reference, {
        key: 'oursFirst',
        label: 'the same, the first mount of its server',
        serves: true,
      }),
      lazily(context, reference, {
        key: 'oursStart',
        label: 'the same, the start of the server in it',
        serves: false,
      }),
      eagerly(context, reference),
    ],
  };
}

/** The machine's server has mounted before, as it has on any machine after its first minutes; nothing of the image is kept. */
function lazilyAgain(context, reference) {
  const state = new OurState(context);
  let isServing = false;
  return {
    key: 'ours',
    label: 'mount --lazy, nothing kept of it',
    argv: state.command('mount', '--lazy', reference, state.at('mnt')),
    async before() {
      if (!isServing) {
        state.renew();
        await state.serve();
        state.mountOnce(reference);
        isServing = true;
      } else state.forget();
    },
    after: () => state.run('umount', state.at('mnt')),
  };
}

function lazily(context, reference, { key, label, serves }) {
  const state = new OurState(context);
  return {
    key,
    label,
    argv: state.command('mount', '--lazy', reference, state.at('mnt')),
    async before() {
      state.renew();
      if (serves) await state.serve();
    },
    after: () => state.clear(),
  };
}

function eagerly(context, reference) {
  const state = new OurState(context);
  let isKept = false;
  return {
    key: 'eager',
    label: 'mount, its layers kept by an earlier one',
    argv: state.command('mount', reference, state.at('mnt')),
    before() {
      if (isKept) return;
      state.renew();
      state.run('mount', reference, state.at('mnt'));
      state.run('umount', state.at('mnt'));
      isKept = true;
    },
    after: () => state.run('umount', state.at('mnt')),
  };
}
