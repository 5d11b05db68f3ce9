/** The objects of the OCI image specification, as they appear in JSON. Unknown members are kept when one is rewritten. */

/** What an image runs on. */
export interface Platform {
  os: string;
  architecture: string;
  variant?: string;
  'os.features'?: string[];
  'os.version'?: string;
}

/** A blob by its digest. */
export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  annotations?: Record<string, string>;
  platform?: Platform;
  urls?: string[];
  artifactType?: string;
  data?: string;
}

/** One image: its config and its layers, the lowest first. */
export interface Manifest {
  schemaVersion: 2;
  mediaType?: string;
  config: Descriptor;
  layers: Descriptor[];
  annotations?: Record<string, string>;
  subject?: Descriptor;
  artifactType?: string;
}

/** Several images under one name. */
export interface Index {
  schemaVersion: 2;
  mediaType?: string;
  manifests: Descriptor[];
  annotations?: Record<string, string>;
}

/** How an image runs, and the DiffIDs of its layers. */
export interface ImageConfig {
  os: string;
  architecture: string;
  variant?: string;
  'os.features'?: string[];
  /** Of profile "erofs-image-spec" it may be missing, and its list too: descriptors have DiffIDs as well. */
  rootfs?: { type: 'layers'; diff_ids?: string[] };
  history?: { created?: string; created_by?: string; comment?: string; empty_layer?: boolean }[];
  config?: Record<string, unknown>;
}
