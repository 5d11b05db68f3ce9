// npm run check:package [-- --tarball FILE | --prebuilt] [--compile]: packs the package and tries it as a user would get it.
//   --tarball FILE  this tarball in place of a new one
//   --prebuilt      packs the binary that npm run prebuild has made, in place of a new one
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
} from 'node:fs';
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createLayer, probes } from './package-probes.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const nodeMajors = [20, 22, 24];
/** Debian 10 and RHEL 8 have it, and so has whatever runs the official builds of Node 20. */
const glibcFloor = '2.28';
const maxTarball = 4 << 20; // bytes
const npmFlags = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];

const { values: options } = parseArgs({
  options: { tarball: { type: 'string' }, prebuilt: { type: 'boolean' }, compile: { type: 'boolean' } },
});
const work = mkdtempSync(join(tmpdir(), 'check-package-'));

async function main() {
  const tarball = options.tarball ? resolve(options.tarball) : pack();
  checkTarball(tarball);
  const nodes = await installNodes();
  const layer = await createLayer(join(work, 'layer.tar'));
  for (const flags of [[], ['--ignore-scripts']]) {
    const consumer = installConsumer(
      tarball,
      `consumer${flags.join('')}`,
      bareTools(process.execPath),
      flags,
    );
    checkTypes(consumer);
    const digests = nodes.map((node) => checkRuns(consumer, node, layer));
    require(new Set(digests).size === 1, 'all of them write the same blob');
  }
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
    rmSync(join(root, 'prebuilds'), { recursive: true, force: true });
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
  for (const file of [
    'LICENSE',
    'THIRD_PARTY_LICENSES',
    'README.md',
    'dist/index.mjs',
    'deps/zstd/lib/zstd.h',
  ]) {
    require(existsSync(join(unpacked, file)), `it has ${file}`);
  }
  for (const folder of ['src', 'test', 'bench/claims', 'native/test', 'node_modules', 'build']) {
    require(!existsSync(join(unpacked, folder)), `it has no ${folder}`);
  }
  const broken = brokenLinks(unpacked);
  require(broken.length === 0, 'links in its documents lead to what it has', broken.join(', '));
  checkSymbols(prebuiltBinary(unpacked));
}

/** Links of the documents in a folder to files that are not there. */
function brokenLinks(folder) {
  const documents = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.md'));
  return documents.flatMap((document) =>
    [...readFileSync(join(folder, document), 'utf8').matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
      .filter(([, target]) => !existsSync(join(folder, dirname(document), target)))
      .map(([, target]) => `${document} → ${target}`),
  );
}

function unpack(tarball, name) {
  mkdirSync(join(work, name));
  execFileSync('tar', ['-xzf', tarball, '-C', join(work, name)]);
  return join(work, name, 'package');
}

function prebuiltBinary(folder) {
  const platform = join(folder, 'prebuilds', `${process.platform}-${process.arch}`);
  const binaries = readdirSync(platform).filter((name) => name.endsWith('.node'));
  require(binaries.length === 1, `one binary for ${process.platform}-${process.arch}`, binaries.join(' '));
  return join(platform, binaries[0]);
}

/** Node 22 and later export a zstd of their own: ours must neither call it nor offer itself. */
function checkSymbols(binary) {
  const lines = execFileSync('nm', ['-D', binary], { encoding: 'utf8' }).trim().split('\n');
  const zstd = lines.filter((line) => /\b(ZSTD|ZDICT|XXH|HUF|FSE)\w*_/.test(line));
  require(zstd.length === 0, 'no symbol of zstd is imported or exported', zstd.slice(0, 3).join(' '));
  const exported = lines.filter((line) => / [A-TV-Zu] /.test(line) && !/ (napi|node_api)_\w+$/.test(line));
  require(exported.length === 0, 'it exports its entry points alone', exported.slice(0, 3).join(' '));
  const cxx = lines.filter((line) => /(GLIBCXX|CXXABI)_/.test(line));
  require(cxx.length === 0, 'it needs no libstdc++', cxx.slice(0, 3).join(' '));
  const newer = lines.filter(
    (line) => compareVersions(/@GLIBC_([\d.]+)/.exec(line)?.[1] ?? '0', glibcFloor) > 0,
  );
  require(newer.length === 0, `it needs no glibc newer than ${glibcFloor}`, newer.join(' '));
  console.log(`binary ${statSync(binary).size} bytes`);
}

function compareVersions(a, b) {
  const [left, right] = [a, b].map((text) => text.split('.').map(Number));
  return left[0] - right[0] || (left[1] ?? 0) - (right[1] ?? 0);
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

/** An environment whose PATH has this Node, npm and a shell, and nothing that could compile. */
function bareTools(node) {
  const folder = mkdtempSync(join(work, 'bin-'));
  symlinkSync(node, join(folder, 'node'));
  symlinkSync('/bin/sh', join(folder, 'sh'));
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
  const { status, stdout } = spawnSync(process.execPath, [tsc, ...flags, 'types.mts', 'types.cts'], {
    cwd: consumer,
    encoding: 'utf8',
  });
  require(status === 0, 'types fit, for import and for require', stdout);
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

/** Where no binary fits: a clear error without a compiler, a compilation with one. */
function checkWithoutPrebuild(tarball, layer) {
  const folder = unpack(tarball, 'no-prebuild');
  rmSync(join(folder, 'prebuilds'), { recursive: true });
  const printed = npm(
    ['pack', '--ignore-scripts', '--loglevel=error', '--pack-destination', dirname(folder)],
    { cwd: folder },
  );
  const reduced = join(dirname(folder), printed.trim().split('\n').at(-1));
  const consumer = installConsumer(reduced, 'source-only', bareTools(process.execPath), ['--ignore-scripts']);
  const bare = rebuild(consumer, bareTools(process.execPath));
  const complains = bare.status !== 0 && /lacks a C\+\+20 compiler.*make.*python3/.test(bare.output);
  require(complains, 'without a compiler it says what is missing', bare.output);
  if (!options.compile) return;
  const started = performance.now();
  const tools = bareTools(process.execPath);
  const full = rebuild(consumer, { ...tools, PATH: `${tools.PATH}:${process.env.PATH}` });
  require(full.status === 0, 'with a compiler it compiles from deps/', full.output);
  console.log(`compiling took ${((performance.now() - started) / 1000).toFixed(0)} s`);
  checkRuns(consumer, process.execPath, layer);
}

/** Runs the package's install step as a user does who comes from the error's hint. */
function rebuild(cwd, env) {
  const args = ['rebuild', 'seekable-erofs-native', '--foreground-scripts'];
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd, env, encoding: 'utf8' });
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
