import type { LayerRole } from '../image/composition';
import type { ReadOptions } from '../layer/decode';
import type { ImageConfig } from '../oci/types';
import type { RegistryOptions } from '../store/registry/options';
import type { MountableLayer } from './layer-set-up';
import type { LazyOptions, LazySource } from './lazy-layers';
import type { TreeTrust, VerityMode } from './plan';
import type { MountState } from './state';

/** What of an image, or which layer, is mounted. */
export interface MountSourceOptions extends ReadOptions, RegistryOptions, LazyOptions {
  /** `os/arch[/variant]` of an index; default: this machine's. */
  platform?: string | undefined;
  /** Files with the external devices of a single layer's image, in its order. */
  devices?: readonly string[] | undefined;
}

/** Of an image, its one layer that is mounted, by its digest; default: all. No option of the library: an image is more than any of its layers. */
export interface LayerChoice {
  onlyLayer?: string | undefined;
}

/** Layers, the lowest first, devices before those that use them, and what must stay open for them. */
export interface MountSource {
  /** For people. */
  name: string;
  /** What it is, as `REF@DIGEST`, and for which platform; null of a layer alone. */
  image: { reference: string; platform: string } | null;
  layers: SourceLayer[];
  /** Null of a layer alone. */
  config: ImageConfig | null;
  close(): Promise<void>;
}

/** A layer that is going to be mounted, or that one of them keeps data on. */
export interface SourceLayer {
  /** For errors. */
  name: string;
  role: LayerRole;
  /** Those of the mount's layers that its image keeps data on, in its order. */
  devices: readonly SourceLayer[];
  diffId: string;
  tree: TreeTrust;
  /** Of a tree that somebody vouches for, else null. */
  rootDigest: string | null;
  /** Which files are mounted where they lie, if any are. */
  files: readonly string[];
  /** How the lazy server reads it; null of a layer that must be here as a whole. */
  lazy: LazySource | null;
  /** What an earlier mount left of it, checked as `mode` wants it; null when there is nothing. */
  cached(state: MountState, key: string, mode: VerityMode): Promise<PreparedLayer | null>;
  /** Checks it, and makes it a file that the kernel can mount. */
  prepare(state: MountState, key: string, mode: VerityMode): Promise<PreparedLayer>;
}

/** A layer that the kernel can mount. */
export interface PreparedLayer extends Omit<MountableLayer, 'extra'> {
  /** Found in the blob, though the descriptor says nothing of a tree. */
  unvouchedTree?: boolean;
  /** Nothing was asked of its registry. */
  isFromDisk?: boolean;
}
