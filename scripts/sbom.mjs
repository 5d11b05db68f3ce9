// node scripts/sbom.mjs [FILE]: a CycloneDX SBOM of the package: npm's own, of what is installed with it, and what the package has inside
// (third-party.mjs). The same commit gives the same bytes. A release has it as an attachment.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { npmComponents, ownComponents } from './third-party.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** When the release was made: that of its commit, not of the day that this runs. */
function timestamp() {
  const epoch =
    process.env.SOURCE_DATE_EPOCH ??
    execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8' });
  return new Date(Number(epoch) * 1000).toISOString();
}

function component({ name, where, version, license, purl }) {
  const isExpression = !license.includes(',');
  return {
    'bom-ref': purl,
    type: 'library',
    name,
    version,
    scope: 'required',
    description: where,
    purl,
    licenses: [isExpression ? { expression: license } : { license: { name: license } }],
  };
}

/** The document. */
export function sbom() {
  const flags = ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only'];
  const document = JSON.parse(
    execFileSync('npm', flags, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 }),
  );
  const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  // Not by --omit=dev: npm then leaves out what development needs as well.
  const ours = new Set([`${name}@${version}`, ...npmComponents().map((one) => `${one.name}@${one.version}`)]);
  document.components = document.components.filter((one) => ours.has(one['bom-ref']));
  document.dependencies = document.dependencies
    .filter(({ ref }) => ours.has(ref))
    .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((one) => ours.has(one)) }));
  const own = ownComponents().map(component);
  document.metadata.timestamp = timestamp();
  document.metadata.component.name = name; // npm has the folder's
  document.components.push(...own);
  const self = document.dependencies.find(({ ref }) => ref === `${name}@${version}`);
  self.dependsOn.push(...own.map((one) => one['bom-ref']));
  document.dependencies.push(...own.map((one) => ({ ref: one['bom-ref'], dependsOn: [] })));
  delete document.serialNumber;
  const hash = createHash('sha256').update(JSON.stringify(document)).digest('hex');
  const uuid = `${hash.slice(0, 8)}-${hash.slice(8, 12)}-4${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
  return { ...document, serialNumber: `urn:uuid:${uuid}` };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = `${JSON.stringify(sbom(), null, 2)}\n`;
  if (process.argv[2] === undefined) process.stdout.write(text);
  else writeFileSync(process.argv[2], text);
}
