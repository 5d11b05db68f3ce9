import type { LayerOrigin } from '../pulled-images';

/** Bytes on disk and inodes. */
export interface Usage {
  size: number;
  inodes: number;
}

/** A snapshot as containerd knows it: a layer, a container's file system, or a view of one. */
export interface Snapshot {
  /** Key of an active one or a view, name of a committed one. */
  name: string;
  /** Names its folders; never given twice. */
  id: number;
  /** Name of the one below; empty when there is none. */
  parent: string;
  kind: 'VIEW' | 'ACTIVE' | 'COMMITTED';
  labels: Record<string, string>;
  /** In milliseconds, as of Date.now(). */
  createdAt: number;
  updatedAt: number;
  /** Null of a snapshot with a folder of its own. `key`: the layer's in the state folder, null of one without files. */
  origin: (LayerOrigin & { key: string | null }) | null;
  /** What a committed snapshot takes that has a folder of its own. */
  usage: Usage | null;
}

/** The labels that containerd gives a snapshot for a layer of an image. */
export const label = {
  /** Its name to be: the chain ID. Who has the layer already says so. */
  target: 'containerd.io/snapshot.ref',
  diffId: 'containerd.io/snapshot/diff-id',
  image: 'containerd.io/snapshot/cri.image-ref',
  manifest: 'containerd.io/snapshot/cri.manifest-digest',
} as const;
