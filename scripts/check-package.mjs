// npm run check:package [-- --tarball FILE | --prebuilt] [--compile]: packs the package and tries it as a user would get it.
//   --tarball FILE  this tarball in place of a new one
//   --prebuilt      packs the binaries that npm run prebuild has made, in place of new ones; of other machines, some may be missing
//   --compile       also compile from the packed sources, as where no prebuilt binary fits (a minute)
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createLayer, probes } from './package-probes.mjs';
import { checkBinary } from './check-binary.mjs';
import { checkByOthers, checkReproducible, checkSbom } from './check-release.mjs';
import { checkContents } from './package-contents.mjs';
import { fetchInstaller, installWith, installers } from './package-installers.mjs';
import { placeInputs, recipesOf } from './package-recipes.mjs';
import { binaryPath, targets } from './prebuild-targets.mjs';
import { notices } from './third-party.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const nodeMajors = [20, 22, 24, 26];
const maxTarball = 8 << 20; // bytes
const npmFlags = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];

const { values: options } = parseArgs({
  options: { tarball: { type: 'string' }, prebuilt: { type: 'boolean' }, compile: { type: 'boolean' } },
});
const work = mkdtempSync(join(tmpdir(), 'check-package-'));

async function main() {
  const tarball = options.tarball ? resolve(options.tarball) : pack();
  checkTarball(tarball);
  if (options.tarball === undefined) checkReproducible(tarball, join(work, 'elsewhere', 'a copy'), require);
  const nodes = await installNodes();
  const layer = await createLayer(join(work, 'layer.tar'));
  for (const flags of [[], ['--ignore-scripts']]) {
    const consumer = installConsumer(
      tarball,
      `consumer${flags.join('')}`,
      bareTools(process.execPath),
      flags,
    );
    writeRecipes(consumer, layer);
    checkTypes(consumer);
    checkDownloads(consumer);
    checkDoors(consumer);
    const digests = nodes.map((node) => checkRuns(consumer, node, layer));
    require(new Set(digests).size === 1, 'all of them write the same blob');
    for (const node of nodes) checkRecipes(consumer, node);
  }
  for (const installer of installers) checkInstaller(installer, tarball, nodes, layer);
  checkWithoutPrebuild(tarball, layer);
}

/** Fails the run unless `condition` holds; says so if it does. */
function require(condition, claim, detail = '') {
  if (!condition) throw new Error(`not so: ${claim}${detail && ` (${detail})`}`);
  console.log(`ok: ${claim}`);
}

function npm(args, { cwd = root, env = process.env } = {}) {
  return execFileSync('npm', args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

function pack() {
  if (!options.prebuilt) {
    for (const { arch } of targets) {
      rmSync(join(root, 'prebuilds', `linux-${arch}`), { recursive: true, force: true });
    }
    npm(['run', 'prebuild']);
  }
  const printed = npm(['pack', '--loglevel=error', '--pack-destination', work]);
  return join(work, printed.trim().split('\n').at(-1));
}

function checkTarball(tarball) {
  const { size } = statSync(tarball);
  require(size <= maxTarball, `the tarball has at most ${maxTarball} bytes`, `${size}`);
  const unpacked = unpack(tarball, 'unpacked');
  console.log(
    `tarball ${size} bytes, ${execFileSync('du', ['-sk', unpacked], { encoding: 'utf8' }).split('\t')[0]} KiB unpacked`,
  );
  checkContents(unpacked, root, require);
  checkManifest(unpacked);
  for (const target of targets) checkPrebuilt(unpacked, target);
  checkByOthers(tarball, unpacked, require);
  const licences = readFileSync(join(unpacked, 'THIRD_PARTY_LICENSES'), 'utf8');
  require(licences ===
    notices(), 'it has the licences of all its parts', 'run: node scripts/third-party.mjs');
  checkSbom(require);
}

function unpack(tarball, name) {
  mkdirSync(join(work, name));
  execFileSync('tar', ['-xzf', tarball, '-C', join(work, name)]);
  return join(work, name, 'package');
}

/** npm 12 runs no script of a dependency, and no node-gyp: none may be needed, nor be asked for. */
function checkManifest(folder) {
  const { scripts, gypfile } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const asked = ['preinstall', 'install', 'postinstall'].filter((name) => name in scripts);
  require(asked.length === 0 && gypfile === false, 'it asks for nothing to run when it is installed');
}

function checkPrebuilt(folder, target) {
  const path = join(folder, 'prebuilds', binaryPath(target));
  const isOurs = target.arch === process.arch && target.libc === 'glibc';
  if (!existsSync(path) && options.prebuilt && !isOurs) {
    console.log(`note: without ${target.name} (npm run prebuild makes it)`);
    return;
  }
  require(existsSync(path), `it has a binary for ${target.name}`);
  checkBinary(path, target, require);
}

/** One Node of each supported line, from the npm packages that carry them. */
function installNodes() {
  if (process.platform !== 'linux') throw new Error('this check runs on Linux');
  return nodeMajors.map((major) => {
    if (process.versions.node.startsWith(`${major}.`)) return process.execPath;
    const folder = join(work, `node-${major}`);
    mkdirSync(folder);
    writeFileSync(join(folder, 'package.json'), '{}');
    npm(['install', ...npmFlags, '--ignore-scripts', `node-linux-${process.arch}@${major}`], { cwd: folder });
    return join(folder, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node');
  });
}

/** An environment whose PATH has this Node, npm, a shell and what programs that pnpm links need, and nothing that could compile. */
function bareTools(node) {
  const folder = mkdtempSync(join(work, 'bin-'));
  symlinkSync(node, join(folder, 'node'));
  for (const name of ['sh', 'sed', 'dirname', 'uname']) symlinkSync(join('/bin', name), join(folder, name));
  for (const name of ['npm', 'npx']) {
    const cli = join(npm(['root', '--global']).trim(), 'npm', 'bin', `${name}-cli.js`);
    writeFileSync(join(folder, name), `#!/bin/sh\nexec "${join(folder, 'node')}" "${cli}" "$@"\n`);
    chmodSync(join(folder, name), 0o755);
  }
  // What this script's own npm has set would lead the consumer's npm back to this checkout.
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^npm_(package|lifecycle|config_local_prefix)|^INIT_CWD|^NODE_PATH/.test(name),
  );
  return { ...Object.fromEntries(kept), PATH: folder };
}

function installConsumer(tarball, name, env, flags) {
  const consumer = join(work, name);
  mkdirSync(consumer);
  writeFileSync(join(consumer, 'package.json'), '{"private": true}');
  const args = ['install', ...npmFlags, ...flags, tarball];
  const started = performance.now();
  npm(args, { cwd: consumer, env });
  const seconds = ((performance.now() - started) / 1000).toFixed(2);
  console.log(`npm install ${flags.join(' ')} took ${seconds} s`);
  for (const [file, text] of Object.entries(probes)) writeFileSync(join(consumer, file), text);
  return consumer;
}

/** The declarations serve both kinds of modules. */
function checkTypes(consumer) {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules', '@types')];
  const flags = ['--noEmit', '--strict', '--module', 'node20', '--target', 'es2022', ...types];
  const files = readdirSync(consumer).filter((name) => /\.[cm]ts$/.test(name));
  const { status, stdout } = spawnSync(process.execPath, [tsc, ...flags, ...files], {
    cwd: consumer,
    encoding: 'utf8',
  });
  require(status === 0, 'types fit, for import and for require, those of the recipes as well', stdout);
}

/**
 * Scripts that packages have, of which nothing depends: classic-level's compiles it where none of its binaries fits, protobufjs's warns of the way
 * in which a dependent writes its version.
 */
const NEEDLESS_SCRIPTS = ['node_modules/classic-level', 'node_modules/protobufjs'];

/** All that is ours came with the one tarball, and nothing that came with it has a script that has to run. */
function checkDownloads(consumer) {
  const lock = JSON.parse(readFileSync(join(consumer, 'node_modules', '.package-lock.json'), 'utf8'));
  const ours = Object.keys(lock.packages).filter((path) => path.includes('seekable-erofs'));
  require(ours.length === 1, 'it is one package', ours.join(' '));
  const scripted = Object.entries(lock.packages)
    .filter(([, { hasInstallScript }]) => hasInstallScript)
    .map(([path]) => path);
  const needed = scripted.filter((path) => !NEEDLESS_SCRIPTS.includes(path));
  require(needed.length === 0, 'no package that comes with it has a script that has to run', needed.join(
    ' ',
  ));
}

/** What only the doors to containerd load is there as well, whether scripts have run or not. */
function checkDoors(consumer) {
  const code = `const { ClassicLevel } = require('classic-level');
    const level = new ClassicLevel('door-database');
    require('@grpc/grpc-js'), require('@grpc/proto-loader');
    level.put('a', 'b').then(() => level.get('a')).then((value) => level.close().then(() => process.exit(value === 'b' ? 0 : 1)));`;
  const { status, stderr } = spawnSync(process.execPath, ['-e', code], { cwd: consumer, encoding: 'utf8' });
  require(status === 0, 'what the doors to containerd need can be loaded', stderr);
}

function writeRecipes(consumer, layer) {
  const recipes = recipesOf(readFileSync(join(root, 'README.md'), 'utf8'));
  require(recipes.length > 0, 'the README has recipes');
  for (const { run, compile } of recipes) {
    for (const [name, code] of Object.entries({ ...run, ...compile }))
      writeFileSync(join(consumer, name), code);
  }
  placeInputs(consumer, layer);
}

/** What the README shows does what it says: it converts, encodes, and lists the layer's root. */
function checkRecipes(consumer, node) {
  const recipes = readdirSync(consumer).filter((name) => /^recipe.*\.[cm]js$/.test(name));
  const failed = recipes.filter((name) => {
    const env = bareTools(node);
    const { status, stdout, stderr } = spawnSync(node, [name], { cwd: consumer, env, encoding: 'utf8' });
    const isDone = status === 0 && stdout.match(/sha256:[0-9a-f]{64}/g)?.length >= 2 && /^etc$/m.test(stdout);
    if (!isDone) console.error(`${stdout}${stderr}`);
    return !isDone;
  });
  require(failed.length === 0, `${node} runs ${recipes.join(', ')}`, failed.join(' '));
}

/** Returns the digest of the blob that this Node writes. */
function checkRuns(consumer, node, layer) {
  const env = bareTools(node);
  const run = (program, args) => execFileSync(program, args, { cwd: consumer, env, encoding: 'utf8' });
  const version = run(node, ['--version']).trim();
  const { digest } = JSON.parse(run(node, ['probe.mjs', layer]));
  require(/^sha256:[0-9a-f]{64}$/.test(
    digest,
  ), `Node ${version} imports, requires, encodes, decodes`, digest);
  const help = run(join(env.PATH, 'npx'), ['--no', 'seekable-erofs', '--', '--help']);
  require(help.includes('convert'), `Node ${version}: npx seekable-erofs --help answers`);
  return digest;
}

/** Every package manager gets it without a compiler, and whether it runs scripts or blocks them; some tell of those that they block. */
function checkInstaller(installer, tarball, nodes, layer) {
  const label = `${installer.package} ${installer.version}`;
  const folder = join(work, `with-${label.replace(/\W+/g, '-')}`);
  const program = fetchInstaller(installer, join(folder, 'program'), npm);
  const registry = npm(['config', 'get', 'registry']).trim();
  for (const major of installer.nodes) {
    const node = nodes[nodeMajors.indexOf(major)];
    const consumer = join(folder, `node-${major}`);
    const env = bareTools(node);
    const { status, output } = installWith(installer, program, { consumer, tarball, node, env, registry });
    const compilesNothing = !/node-gyp(?!-build)/i.test(output);
    require(status === 0 &&
      compilesNothing, `${label} installs it on Node ${major}, and compiles nothing`, output);
    for (const [file, text] of Object.entries(probes)) writeFileSync(join(consumer, file), text);
    checkRuns(consumer, node, layer);
  }
}

/** Where no binary fits: a clear error that names the program which compiles, and what that lacks or makes. */
function checkWithoutPrebuild(tarball, layer) {
  const folder = unpack(tarball, 'no-prebuild');
  rmSync(join(folder, 'prebuilds'), { recursive: true });
  const printed = npm(
    ['pack', '--ignore-scripts', '--loglevel=error', '--pack-destination', dirname(folder)],
    { cwd: folder },
  );
  const reduced = join(dirname(folder), printed.trim().split('\n').at(-1));
  const bareEnv = bareTools(process.execPath);
  const consumer = installConsumer(reduced, 'source-only', bareEnv, []);
  const load = ['-e', "require('seekable-erofs-native').encodeLayer"];
  const loaded = spawnSync(process.execPath, load, { cwd: consumer, encoding: 'utf8' });
  require(loaded.status !== 0 &&
    loaded.stderr.includes(
      'npx seekable-erofs-build',
    ), 'the error at require names the program that compiles', loaded.stderr);
  const bare = buildAddon(consumer, bareEnv);
  const complains = bare.status !== 0 && /lacks a C\+\+20 compiler.*make.*python3/.test(bare.output);
  require(complains, 'without a compiler it says what is missing', bare.output);
  if (!options.compile) return;
  const started = performance.now();
  const tools = bareTools(process.execPath);
  const full = buildAddon(consumer, { ...tools, PATH: `${tools.PATH}:${process.env.PATH}` });
  require(full.status === 0, 'with a compiler it compiles from deps/', full.output);
  console.log(`compiling took ${((performance.now() - started) / 1000).toFixed(0)} s`);
  checkRuns(consumer, process.execPath, layer);
}

/** As a user does who comes from the error's hint. */
function buildAddon(cwd, env) {
  const args = ['--no', 'seekable-erofs-build'];
  const { status, stdout, stderr } = spawnSync('npx', args, { cwd, env, encoding: 'utf8' });
  return { status, output: `${stdout}${stderr}` };
}

try {
  await main();
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}
