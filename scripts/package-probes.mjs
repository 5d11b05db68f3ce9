// What check-package.mjs runs in a folder that has the package installed.
import { createCipheriv } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { pack } from 'tar-stream';

/** Writes a small layer tar, of `files` more files that hardly compress, and returns its path. */
export async function createLayer(path, { files = 0 } = {}) {
  const tar = pack();
  tar.entry({ name: 'etc/', type: 'directory', mode: 0o755 });
  tar.entry({ name: 'etc/motd', mode: 0o644 }, 'seekable\n'.repeat(5000));
  tar.entry({ name: 'etc/issue', type: 'symlink', linkname: 'motd' });
  for (let i = 0; i < files; ++i) {
    const key = Buffer.alloc(32, `${i}`);
    const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
    tar.entry(
      { name: `etc/file-${i}`, mode: 0o600, mtime: new Date(i * 1e6) },
      cipher.update(Buffer.alloc(i * 331)),
    );
  }
  tar.finalize();
  const file = createWriteStream(path);
  tar.pipe(file);
  await once(file, 'close');
  return path;
}

const probe = `
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import * as imported from 'seekable-erofs-native';
import { SeekableErofsError, decodeBlob, encodeLayer } from 'seekable-erofs-native';

const required = createRequire(import.meta.url)('seekable-erofs-native');
assert.deepEqual(Object.keys(imported).sort(), Object.keys(required).sort());
assert.equal(SeekableErofsError, required.SeekableErofsError);

const { version } = process;
const blob = \`\${version}.blob\`;
const encoded = await encodeLayer(process.argv[2], blob, { dmVerity: true, chunkSize: 16384 });
const decoded = await decodeBlob(blob, \`\${version}.erofs\`, { descriptor: encoded });
assert.equal(decoded.diffId, encoded.diffId);
await assert.rejects(required.encodeLayer('missing.tar', blob), (error) => error instanceof SeekableErofsError);
console.log(JSON.stringify({ digest: encoded.digest }));
`;

const types = `
const encoded: Promise<EncodedLayer> = encodeLayer('layer.tar', 'layer.blob', { dmVerity: true });
// @ts-expect-error: a number is no path
const refused: Promise<EncodedLayer> = encodeLayer(1, 'layer.blob');
export { encoded, refused };
`;
const names = "{ encodeLayer, type EncodedLayer } from 'seekable-erofs-native';\n";

/** Files by name. */
export const probes = {
  'probe.mjs': probe,
  'types.mts': `import ${names}${types}`,
  'types.cts': `import ${names}${types}`,
};
