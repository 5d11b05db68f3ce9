import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Writes an OCI image layout of plain tar layers with one image, whose command greets. */
export function writeLayout(directory, tars) {
  const blobs = join(directory, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const put = (mediaType, content) => {
    const hex = createHash('sha256').update(content).digest('hex');
    writeFileSync(join(blobs, hex), content);
    return { mediaType, digest: `sha256:${hex}`, size: content.length };
  };
  const putJson = (type, value) =>
    put(`application/vnd.oci.image.${type}.v1+json`, Buffer.from(JSON.stringify(value)));
  const layers = tars.map((tar) => put('application/vnd.oci.image.layer.v1.tar', tar));
  const config = putJson('config', {
    os: 'linux',
    architecture: 'amd64',
    config: {
      Env: ['GREETING=hello world !'],
      Cmd: ['/bin/sh', '-c', 'echo "$GREETING"; busybox id; pwd'],
      User: 'app',
      WorkingDir: '/data',
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
  });
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = putJson('manifest', { schemaVersion: 2, mediaType, config, layers });
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [manifest] }));
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
}
