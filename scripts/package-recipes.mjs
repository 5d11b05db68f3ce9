// The JavaScript of the README, as check-package.mjs runs it where the package is installed: as ES module, as CommonJS, in a worker thread.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

/** The blocks of code that a document has in a language. */
function codeOf(document, language) {
  return [...document.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(
    ([, code]) => code,
  );
}

/** An ES module as it is written where there is neither import nor await on the top. */
function asCommonJs(code) {
  const imported = /^import (\{.*?\}) from ('.*?');$/gm;
  const body = code.replace(imported, '');
  const required = [...code.matchAll(imported)].map(
    ([, names, from]) => `const ${names} = require(${from});`,
  );
  return `${required.join('\n')}\nvoid (async () => {${body}})();\n`;
}

function asTypedCommonJs(code) {
  const imports = code.match(/^import .*;$/gm) ?? [];
  return `${imports.join('\n')}\nexport const done = (async () => {${code.replace(/^import .*;$/gm, '')}})();\n`;
}

const worker = (module) => `
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
const [exitCode] = await once(new Worker(new URL('./${module}', import.meta.url)), 'exit');
process.exitCode = exitCode;
`;

/** Files of each recipe of a README: what Node runs, and what tsc compiles. */
export function recipesOf(readme) {
  return codeOf(readme, 'js').map((code, i) => ({
    run: {
      [`recipe-${i}.mjs`]: code,
      [`recipe-${i}.cjs`]: asCommonJs(code),
      [`recipe-${i}-in-worker.mjs`]: worker(`recipe-${i}.mjs`),
    },
    compile: { [`recipe-${i}.mts`]: code, [`recipe-${i}.cts`]: asTypedCommonJs(code) },
  }));
}

/** Puts what the recipes read into a folder: the tar as `layer.tar.gz`, and an image of it as the layout `app`. */
export function placeInputs(folder, tar) {
  mkdirSync(join(folder, 'app', 'blobs', 'sha256'), { recursive: true });
  const layer = readFileSync(tar);
  writeFileSync(join(folder, 'layer.tar.gz'), gzipSync(layer));
  const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');
  const blob = (type, bytes) => {
    writeFileSync(join(folder, 'app', 'blobs', 'sha256', digest(bytes)), bytes);
    return {
      mediaType: `application/vnd.oci.image.${type}`,
      digest: `sha256:${digest(bytes)}`,
      size: bytes.length,
    };
  };
  const json = (type, value) => blob(type, Buffer.from(JSON.stringify(value)));
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const rootfs = { type: 'layers', diff_ids: [`sha256:${digest(layer)}`] };
  const manifest = json('manifest.v1+json', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: json('config.v1+json', { os: 'linux', architecture, rootfs, config: {} }),
    layers: [blob('layer.v1.tar', layer)],
  });
  const named = { ...manifest, annotations: { 'org.opencontainers.image.ref.name': 'latest' } };
  writeFileSync(join(folder, 'app', 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
  writeFileSync(join(folder, 'app', 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
}
