/** Who checks a mounted layer's blocks: the kernel as they are read, this program before it was mounted, or nobody but its digest. */
export type VerityMode = 'kernel' | 'userspace' | 'none';

/** One layer of a mount. */
export interface MountedLayer {
  diffId: string;
  /** What the kernel reads: a `/dev/dm-N`, a `/dev/loopN`, or a file. */
  device: string;
  verity: VerityMode;
}

/** What the kernel mounts a layer from. */
export type Backing = 'file' | 'loop' | 'verity';

/** What the journal has of one layer, written before anything of it is set up. */
export interface LayerRecord {
  /** The image, then its external devices. */
  files: string[];
  backing: Backing;
  /** The names that a dm-verity device gets. */
  dm: { name: string; uuid: string } | null;
  /** Loop devices that may not detach themselves. */
  loops: string[];
}
