// npm run check:prebuilds [-- TARGET...] [--unit]: runs the binaries in prebuilds/ and compares what they make of the test corpus.
//   TARGET   of prebuild-targets.mjs; all of them by default
//   --unit   runs the unit tests that need no other programs on each binary that is emulated, too (many minutes)
// Another architecture is emulated by qemu. What is fetched for that stays in build-prebuild/run.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { checkBinary } from './check-binary.mjs';
import { root } from './compile-addon.mjs';
import { createLayer } from './package-probes.mjs';
import { binaryPath, targets } from './prebuild-targets.mjs';
import { emulatedTestModules, programOf } from './prebuild-nodes.mjs';

/** Instruction sets that are tried: all that the emulated CPU has, and fewer. */
const variants = {
  x64: [{}, { hash: 'avx2' }, { hash: 'portable' }],
  arm64: [{ cpu: 'max' }, { cpu: 'max', hash: 'portable' }, { cpu: 'cortex-a72' }],
};
/** Unit tests of what the addon does, that start no program. */
const unitTests = ['test/erofs', 'test/format', 'test/layer', 'test/convert/image.test.ts'];

const { values: options, positionals } = parseArgs({
  options: { unit: { type: 'boolean' } },
  allowPositionals: true,
});

function require(condition, claim, detail = '') {
  if (!condition) throw new Error(`not so: ${claim}${detail && ` (${detail})`}`);
  console.log(`ok: ${claim}`);
}

/** The environment in which node-gyp-build takes the released binary, and that of this libc. */
function environment({ libc }, { cpu, hash }) {
  return {
    ...process.env,
    PREBUILDS_ONLY: '1',
    LIBC: libc,
    ...(cpu && { QEMU_CPU: cpu }),
    ...(hash && { SEEKABLE_EROFS_HASH: hash }),
  };
}

/** The layers of the test suite, and a larger one, plain and compressed. */
async function makeCorpus(folder) {
  cpSync(join(root, 'test', 'golden', 'tar'), folder, { recursive: true });
  const layer = await createLayer(join(folder, 'layer.tar'), { files: 200 });
  writeFileSync(`${layer}.gz`, gzipSync(readFileSync(layer)));
}

function runCorpus(program, env, corpus) {
  const [command, ...args] = [...program, join(root, 'scripts', 'prebuild-corpus.mjs'), corpus];
  return JSON.parse(execFileSync(command, args, { env, encoding: 'utf8', maxBuffer: 1 << 28 }));
}

function runUnitTests(target, program) {
  const [command, ...args] = [
    ...program,
    join(root, 'node_modules', 'vitest', 'vitest.mjs'),
    'run',
    // A worker process would be started by name, and so not be emulated.
    '--pool=threads',
    '--maxWorkers=2',
    '--testTimeout=600000',
    ...unitTests,
  ];
  const env = { ...environment(target, {}), NODE_PATH: emulatedTestModules(target) };
  const { status } = spawnSync(command, args, { cwd: root, env, stdio: 'inherit' });
  require(status === 0, `${target.name} passes ${unitTests.join(', ')}`);
}

function checkTarget(target, corpus, expected) {
  checkBinary(join(root, 'prebuilds', binaryPath(target)), target, require);
  const { program, skip } = programOf(target);
  if (skip !== undefined) {
    console.log(`SKIP: ${target.name}: ${skip}`);
    return expected;
  }
  for (const variant of variants[target.arch]) {
    const { layers, features, node, arch } = runCorpus(program, environment(target, variant), corpus);
    const sets = [features.sha512Many, features.sha256Stream].join(', ');
    const label = `${target.name} (Node ${node}, ${arch}, ${sets})`;
    expected ??= layers;
    const differing = Object.keys(expected).filter(
      (name) => JSON.stringify(layers[name]) !== JSON.stringify(expected[name]),
    );
    const count = Object.keys(layers).length;
    const first = differing[0];
    if (first !== undefined) {
      console.error(`${JSON.stringify(layers[first])}\nin place of ${JSON.stringify(expected[first])}`);
    }
    require(count > 50 &&
      differing.length === 0, `${label} makes the same of ${count} layers`, differing.join(' '));
  }
  if (options.unit && target.arch !== process.arch) runUnitTests(target, program);
  return expected;
}

const work = mkdtempSync(join(tmpdir(), 'check-prebuilds-'));
try {
  const corpus = join(work, 'corpus');
  mkdirSync(corpus);
  await makeCorpus(corpus);
  let expected;
  for (const target of targets) {
    if (positionals.length > 0 && !positionals.includes(target.name)) continue;
    expected = checkTarget(target, corpus, expected);
  }
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}
