import { createHash } from 'node:crypto';
import type { ErofsEntry } from '../erofs-writer';
import { sha256, type VectorLayer } from './layers';
import type { Vector } from './vector';
import { allVectors } from './vectors';

/*
 * The files of vectors/: one OCI layout with an image for each vector, and vectors.json, which says what a reader must do with each.
 */

const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const configType = 'application/vnd.oci.image.config.v1+json';

/** An entry of a tree, as vectors.json has it. */
export interface ExpectedEntry {
  path: string;
  type: string;
  mode: string;
  uid: number;
  gid: number;
  size: number;
  /** Seconds. */
  mtime: number;
  target: string | null;
  rdev: string | null;
  xattrs: Record<string, string>;
  /** Of a file's bytes. */
  sha256: string | null;
}

/** The files, by their path in vectors/. */
export function vectorFiles(): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  const blob = (bytes: Buffer, mediaType: string) => {
    const digest = sha256(bytes);
    files.set(`layout/blobs/sha256/${digest.slice(7)}`, bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const vectors = allVectors();
  const manifests = vectors.map((vector) => ({
    ...blob(json(manifestOf(vector, blob)), manifestType),
    annotations: { 'org.opencontainers.image.ref.name': vector.name },
  }));
  files.set('layout/oci-layout', json({ imageLayoutVersion: '1.0.0' }));
  files.set('layout/index.json', json({ schemaVersion: 2, manifests }));
  const described = vectors.map((vector) => describe(vector));
  files.set('vectors.json', Buffer.from(`${JSON.stringify(described, null, 1)}\n`));
  return files;
}

const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));

type Put = (bytes: Buffer, mediaType: string) => { mediaType: string; digest: string; size: number };

function manifestOf({ layers, diffIds = layers.map(({ diffId }) => diffId) }: Vector, put: Put) {
  const rootfs = { type: 'layers', ...(Array.isArray(diffIds) && { diff_ids: diffIds }) };
  const config = {
    architecture: 'amd64',
    os: 'linux',
    'os.features': ['erofs'],
    config: { Cmd: ['/bin/true'] },
    ...(diffIds !== 'none' && { rootfs }),
  };
  const descriptor = ({ blob, mediaType, annotations }: VectorLayer) => ({
    ...put(blob, mediaType),
    ...(Object.keys(annotations).length > 0 && { annotations }),
  });
  return {
    schemaVersion: 2,
    mediaType: manifestType,
    config: put(json(config), configType),
    layers: layers.map(descriptor),
  };
}

function describe({ name, section, about, tree, rule, needs, layers }: Vector) {
  return {
    name,
    section,
    about,
    verdict: tree === null ? 'refuse' : 'accept',
    ...(rule !== null && { rule }),
    ...(needs !== undefined && { needs }),
    diffIds: layers.map(({ diffId }) => diffId),
    ...(tree !== null && { tree: expectedTree(tree) }),
  };
}

/** With the directories that have no entry of their own, by the bytes of the paths. */
export function expectedTree(entries: readonly ErofsEntry[]): ExpectedEntry[] {
  const known = new Map<string, ExpectedEntry>();
  const folder = (path: string): ErofsEntry => ({ path, type: 'dir' });
  for (const entry of [folder(''), ...entries]) {
    const parts = entry.path.split('/');
    for (let i = 1; i < parts.length; i++) {
      const parent = parts.slice(0, i).join('/');
      if (!known.has(`/${parent}`)) known.set(`/${parent}`, expectedEntry(folder(parent)));
    }
    known.set(`/${entry.path}`, expectedEntry(entry));
  }
  return [...known.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

function expectedEntry(entry: ErofsEntry): ExpectedEntry {
  const { path, target = null, uid = 0, gid = 0, mtime = 0, xattrs = {} } = entry;
  const type = entry.type ?? (target === null ? 'file' : 'symlink');
  const content = type === 'file' ? Buffer.from(entry.content ?? '') : null;
  const base64 = Object.entries(xattrs).map(([name, value]) => [name, Buffer.from(value).toString('base64')]);
  return {
    path: `/${path}`,
    type,
    mode: (entry.mode ?? (type === 'dir' ? 0o755 : 0o644)).toString(8).padStart(4, '0'),
    uid,
    gid,
    // What a directory takes is its format's affair.
    size: content?.length ?? target?.length ?? 0,
    mtime,
    target,
    rdev: null,
    xattrs: Object.fromEntries(base64) as Record<string, string>,
    sha256: content && createHash('sha256').update(content).digest('hex'),
  };
}
