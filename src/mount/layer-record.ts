import type { Backing } from './plan';

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
