// Claim: an image flows from registry to registry: fetching hides behind inflating, sending behind encoding, whichever takes longer.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LazyRegistry, registryMissing } from '../lib/lazy-registry.mjs';
import { layerBytes } from '../lib/layout.mjs';
import { ROOT } from '../lib/paths.mjs';
import { quoted, which } from '../lib/programs.mjs';

export const title =
  'flow: tar.gz image → seekable blobs, from registry to registry, through a network of 100 MB/s each way';

const NETWORK = { rtt: '1ms', bandwidth: 100e6 };
const REPOSITORY = 'flow/source';

export async function* cases(context) {
  const missing = registryMissing(context.directory);
  if (missing) {
    console.log(`  skipped: ${missing}`);
    return;
  }
  const registry = await LazyRegistry.start(context.directory);
  try {
    yield await flow(context, registry, '1 layer, gzip', 'one', [context.inputs.tar()]);
    yield await flow(context, registry, '6 layers, gzip', 'six', context.inputs.layerTars());
  } finally {
    registry.stop();
  }
}

async function flow(context, registry, name, tag, tars) {
  const [packed, plain] = [
    await context.inputs.layout(tars, 'gzip'),
    await context.inputs.layout(tars, 'none'),
  ];
  await registry.push(packed.path, REPOSITORY, tag);
  const place = { source: `docker://${registry.slowHost}/${REPOSITORY}:${tag}`, host: registry.slowHost };
  const encoded = context.inputs.scratch(`flow-${tag}`);
  const spooled = context.inputs.scratch('flow-spooled');
  const alone = (key, label, script) => part(registry, { key, label, script });
  return {
    name,
    input: { label: `${name}, from registry to registry`, bytes: layerBytes(packed.path) },
    contestants: [
      part(registry, {
        key: 'ours',
        label: 'convert',
        script: `${quoted(context.ours(['convert', place.source]))} ${target(place)} --quiet`,
      }),
      alone('download', 'fetching alone', fetching(place, packed.path)),
      alone('inflate', 'inflating alone, and SHA-256 of what comes out', inflating(context, packed.files)),
      alone(
        'encode',
        'building and encoding alone, of plain tars in a layout',
        `rm -rf ${encoded} && ${quoted(context.ours(['convert', `oci:${plain.path}:bench`, `oci:${encoded}:x`, '--quiet']))}`,
      ),
      alone('upload', 'sending what that made, alone', sending(place, encoded)),
      alone(
        'inTurn',
        'fetching into files, converting, sending: one after the other',
        [
          fetching(place, packed.path, spooled),
          `rm -rf ${encoded} && ${quoted(context.ours(['convert', `oci:${packed.path}:bench`, `oci:${encoded}:x`, '--quiet']))}`,
          sending(place, encoded),
        ].join('\n'),
      ),
      ...(which('skopeo') === null
        ? []
        : // It remembers that the registry has these blobs, and sends none the next time.
          [{ ...alone('skopeo', 'skopeo copy of the tar.gz image', copying(place)), rounds: 1 }]),
    ],
  };
}

/** One contestant. */
function part(registry, { key, label, script }) {
  return {
    key,
    label,
    isRival: ['ours', 'inTurn', 'skopeo'].includes(key),
    argv: ['sh', '-ec', script],
    before: () => registry.setNetwork(NETWORK),
  };
}

/** A repository that nothing is in: each run is a shell of its own. */
const target = ({ host }) => `docker://${host}/flow/target-$$:x`;

function fetching({ host }, layout, to = '/dev/null') {
  const urls = layersOf(layout).map(({ digest }) => `http://${host}/v2/${REPOSITORY}/blobs/${digest}`);
  return `for url in ${urls.join(' ')}; do curl -sf -o ${to} "$url"; done`;
}

/** Layers side by side, as many as there are cores. */
function inflating(context, files) {
  const job = join(ROOT, 'bench', 'jobs', 'inflate.mjs');
  const addon = join(context.directory, 'inflate.node');
  context.parts.source(files[0], { compression: 'gzip' }); // which builds it
  return `printf '%s\\n' ${quoted(files)} | xargs -P ${context.cores} -n 1 ${quoted([process.execPath, job, addon])}`;
}

/** By the distribution specification's POST and PUT. */
function sending({ host }, layout) {
  return `for blob in ${layout}/blobs/sha256/*; do
    place=$(curl -si -X POST http://${host}/v2/flow/sent-$$/blobs/uploads/ | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p')
    curl -sf -X PUT -H 'content-type: application/octet-stream' -T "$blob" "http://${host}$place&digest=sha256:\${blob##*/}"
  done`;
}

const copying = (place) =>
  `skopeo copy -q --src-tls-verify=false --dest-tls-verify=false ${place.source} ${target(place)}`;

function layersOf(layout) {
  const read = (name) => JSON.parse(readFileSync(join(layout, name), 'utf8'));
  const [{ digest }] = read('index.json').manifests;
  return read(join('blobs', 'sha256', digest.split(':')[1])).layers;
}
