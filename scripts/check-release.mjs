// What must hold of a packed tarball before it is published, beside what check-package.mjs tries with it.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  utimesSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sbom } from './sbom.mjs';
import { npmComponents, ownComponents } from './third-party.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** What other programs have to say of entry points and types. publint does not know tarballs with names of over a hundred bytes. */
export function checkByOthers(tarball, unpacked, require) {
  for (const [name, ...args] of [
    ['publint', 'run', unpacked, '--strict', '--pack', 'false'],
    ['attw', tarball, '--no-color'],
  ]) {
    const program = join(root, 'node_modules', '.bin', name);
    const { status, stdout, stderr } = spawnSync(program, args, { cwd: root, encoding: 'utf8' });
    const complains = /^(Suggestions|Warnings|Errors):/m.test(stdout);
    require(status === 0 && !complains, `${name} finds nothing`, `${stdout}${stderr}`);
  }
}

/** Every part of the package is in its SBOM, once, and nothing in there depends on what is not. */
export function checkSbom(require) {
  const { components, dependencies, metadata } = sbom();
  const refs = [metadata.component, ...components].map((one) => one['bom-ref']);
  const parts = [
    ...npmComponents().map((one) => `${one.name}@${one.version}`),
    ...ownComponents().map(({ purl }) => purl),
  ];
  const missing = parts.filter((ref) => !refs.includes(ref));
  const unknown = dependencies
    .flatMap(({ ref, dependsOn }) => [ref, ...dependsOn])
    .filter((ref) => !refs.includes(ref));
  const isWhole = missing.length + unknown.length === 0 && new Set(refs).size === refs.length;
  require(isWhole, `the SBOM has all ${parts.length} parts`, [...missing, ...unknown].join(' '));
}

/** Packed in another folder, with other modes and times of files, it has the same bytes. */
export function checkReproducible(tarball, copy, require) {
  mkdirSync(copy, { recursive: true });
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
  });
  const sources = listed
    .toString()
    .split('\0')
    .filter((name) => name !== '' && existsSync(join(root, name)));
  for (const name of [...sources, 'prebuilds']) {
    cpSync(join(root, name), join(copy, name), { recursive: true });
  }
  for (const name of readdirSync(copy, { recursive: true })) {
    const path = join(copy, name);
    utimesSync(path, 1e9, 1e9);
    chmodSync(path, statSync(path).mode & 0o700);
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  const umask = process.umask(0o077);
  const env = { ...process.env, SOURCE_DATE_EPOCH: '1', TZ: 'Pacific/Kiritimati', LC_ALL: 'C' };
  const printed = execFileSync('npm', ['pack', '--loglevel=error'], { cwd: copy, env, encoding: 'utf8' });
  process.umask(umask);
  const tarballs = [tarball, join(copy, printed.trim().split('\n').at(-1))];
  const digests = tarballs.map((path) => createHash('sha512').update(readFileSync(path)).digest('base64'));
  require(digests[0] ===
    digests[1], 'packed elsewhere, by another umask and date, it has the same bytes', difference(tarballs));
}

/** The first entries of two tarballs that are not the same. */
function difference(tarballs) {
  const [ours, others] = tarballs.map((path) => {
    const text = execFileSync('tar', ['-tvzf', path, '--full-time', '--utc'], {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    });
    return text.split('\n');
  });
  const differing = ours.flatMap((line, i) => (line === others[i] ? [] : [`${line} / ${others[i]}`]));
  return differing.slice(0, 5).join('; ') || 'in what files contain, or how they are compressed';
}
