// What the packed package may have, and what must hold of it: asked by check-package.mjs.
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** What each packed file is; one that is nothing of these was packed by mistake, and a line without a file is a mistake as well. */
const expected = [
  /^(README|CHANGELOG|CONTRIBUTING|SECURITY)\.md$/,
  /^(LICENSE|THIRD_PARTY_LICENSES|package\.json)$/,
  /^dist\/index\.(mjs|d\.mts)$/,
  /^dist\/([a-z-]+\/)*[a-z0-9-]+\.(js|d\.ts)$/,
  /^dist\/mount\/container\/seccomp-profile\.json$/,
  /^dist\/containerd\/protos\/[a-z]+\.proto$/,
  /^man\/seekable-erofs\.1$/,
  /^native\/(?!test\/)([a-z]+\/)+[a-z0-9_]+\.(cc|h|inc)$/,
  /^native\/(sources\.txt|binding\/exports\.map)$/,
  /^deps\/binding\.gyp$/,
  /^deps\/zstd\/(LICENSE|lib\/.+)$/,
  /^prebuilds\/README\.md$/,
  /^prebuilds\/linux-(x64|arm64)\/seekable-erofs-native\.(glibc|musl)\.node$/,
  /^docs\/(?!api\/)([a-z]+\/)?[a-z0-9-]+\.md$/,
  /^docs\/images\/[a-z-]+\.png$/,
  /^bench\/results\/overview\.svg$/,
  /^scripts\/(build-addon|compile-addon|zstd-sources)\.mjs$/,
  /^scripts\/(conformance|read-vector)\.mjs$/,
  /^vectors\/(README\.md|vectors\.json|layout\/(index\.json|oci-layout|blobs\/sha256\/[0-9a-f]{64}))$/,
];

function filesOf(folder) {
  return readdirSync(folder, { recursive: true }).filter((name) => statSync(join(folder, name)).isFile());
}

/** Checks the list of files, and what they say; `root` is the folder that all was built in. */
export function checkContents(folder, root, require) {
  const files = filesOf(folder);
  const odd = files.filter((name) => !expected.some((pattern) => pattern.test(name)));
  require(odd.length === 0, `it has ${files.length} files, each of a kind that is wanted`, odd.join(' '));
  const missing = expected.filter((pattern) => !files.some((name) => pattern.test(name)));
  require(missing.length === 0, 'and some of every kind', missing.join(' '));
  const read = (name) => readFileSync(join(folder, name), 'latin1');
  const mapped = files.filter((name) => /^dist\//.test(name) && /[#@] sourceMappingURL=/.test(read(name)));
  require(mapped.length === 0, 'nothing points to a source map', mapped.join(' '));
  const local = files.filter((name) => read(name).includes(`${root}/`));
  require(local.length === 0, 'nothing names the folder that it was built in', local.join(' '));
  const broken = [...brokenLinks(folder, files), ...unknownPaths(folder)];
  require(broken.length ===
    0, 'links in its documents lead to what it has, and so do paths in the README', broken.join(', '));
}

/** Links of the documents to files, or to headings of files, that are not there. */
function brokenLinks(folder, files) {
  const documents = files.filter((name) => name.endsWith('.md'));
  return documents.flatMap((document) =>
    [
      ...readFileSync(join(folder, document), 'utf8').matchAll(
        /\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)/g,
      ),
    ]
      .filter(([, target, heading]) => {
        const path = target === '' ? join(folder, document) : join(folder, dirname(document), target);
        if (!existsSync(path)) return true;
        return heading !== undefined && !headingsOf(path).has(heading);
      })
      .map(([link]) => `${document} → ${link.slice(2, -1)}`),
  );
}

/** The names that GitHub and npm give to a document's headings. */
function headingsOf(path) {
  const headings = [...readFileSync(path, 'utf8').matchAll(/^#+ (.*)$/gm)];
  return new Set(
    headings.map(([, text]) =>
      text
        .toLowerCase()
        .replace(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/** Files of the repository that the README names as such, and the package has not: they are to be links to the repository. */
function unknownPaths(folder) {
  const readme = readFileSync(join(folder, 'README.md'), 'utf8').replace(/\[[^\]]*\]\(https?:[^)]*\)/g, '');
  return [...readme.matchAll(/`((?:bench|dist|docs|native|prebuilds|scripts|src|test)\/[\w./-]*)`/g)]
    .filter(([, path]) => !existsSync(join(folder, path)))
    .map(([, path]) => `README.md → ${path}`);
}
