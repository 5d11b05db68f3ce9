// The package managers that check-package.mjs tries, each from the npm package that carries it.
import { spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const bunPackage = { x64: '@oven/bun-linux-x64', arm64: '@oven/bun-linux-aarch64' }[process.arch];

/** `add` is what follows the program. What is in `files` has to lie in the consumer's folder before. */
export const installers = [
  ...[
    { version: '10', nodes: [20] },
    { version: '11', nodes: [20] },
    { version: '12', nodes: [22, 24, 26] },
  ].map((one) => ({
    ...one,
    package: 'npm',
    program: 'bin/npm-cli.js',
    add: (tarball) => ['install', '--no-audit', '--no-fund', tarball],
  })),
  {
    package: 'pnpm',
    version: '10',
    nodes: [20],
    program: 'bin/pnpm.cjs',
    add: (tarball) => ['add', tarball],
  },
  {
    package: 'yarn',
    version: '1',
    nodes: [20],
    program: 'bin/yarn.js',
    add: (tarball) => ['add', '--no-lockfile', '--no-progress', `file:${tarball}`],
  },
  {
    package: '@yarnpkg/cli-dist',
    version: '4',
    nodes: [20],
    program: 'bin/yarn.js',
    add: (tarball) => ['add', `seekable-erofs-native@file:${tarball}`],
    files: (registry) => ({
      'yarn.lock': '',
      '.yarnrc.yml': `nodeLinker: node-modules\nenableTelemetry: false\nnpmRegistryServer: ${JSON.stringify(registry)}\n`,
    }),
  },
  { package: bunPackage, version: '1', nodes: [20], program: 'bin/bun', add: (tarball) => ['add', tarball] },
];

/** Fetches a package manager into `folder`; `npm` runs this machine's npm. Returns the path of its program. */
export function fetchInstaller({ package: name, version, program }, folder, npm) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"private": true}');
  npm(['install', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error', `${name}@${version}`], {
    cwd: folder,
  });
  return join(folder, 'node_modules', name, program);
}

/** Installs the tarball into the new folder `consumer`. Returns the exit code and the output. */
export function installWith(installer, program, { consumer, tarball, node, env, registry }) {
  mkdirSync(consumer);
  const files = { 'package.json': '{"private": true}', ...installer.files?.(registry) };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(consumer, name), text);
  // pnpm and yarn call themselves by name.
  const [command, ...first] = program.endsWith('js') ? [node, program] : [program];
  const tools = join(consumer, '..', `tools-${Math.random().toString(36).slice(2)}`);
  mkdirSync(tools);
  symlinkSync(node, join(tools, 'node'));
  const { status, stdout, stderr, error } = spawnSync(command, [...first, ...installer.add(tarball)], {
    cwd: consumer,
    env: { ...env, PATH: [tools, env.PATH].join(delimiter), CI: 'true' },
    encoding: 'utf8',
  });
  return { status, output: `${stdout}${stderr}${error?.message ?? ''}` };
}
