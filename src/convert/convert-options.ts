import type { PlatformSelection } from '../image/image-set';
import type { EncodeOptions } from '../layer/encode';
import type { RegistryOptions } from '../store/registry/options';
import type { Fleet } from './fleet';
import type { ConversionPool } from './pool';

/** How an image is converted. */
export interface ConvertOptions extends EncodeOptions, PlatformSelection, RegistryOptions {
  /** What conversions in other processes share with this one: workers give it. @internal */
  fleet?: Fleet | undefined;
  /** Shared by the conversions of one run, so that together they use no more threads than one, and convert a common layer once. */
  pool?: ConversionPool | undefined;
  /**
   * Write an index of the image as it is, with its blobs, and what was made of it; what the destination has under that name in
   * an index already stays in it.
   */
  appendToIndex?: boolean | undefined;
  /**
   * Say "erofs" in the os.features of the index's entries, in profile "containerd" too; containerd then has to be asked for that platform.
   * Profile "erofs-image-spec" and `appendToIndex` always say it.
   */
  osFeatures?: boolean | undefined;
  /**
   * Carry layers of a non-distributable type over as they are, blob and `urls`, instead of converting them. Profile "containerd" only: the
   * draft specification has no images of both kinds.
   */
  keepForeign?: boolean | undefined;
  /**
   * A file with a trace (docs/trace.md), or `auto`: the trace that is attached to the source's image, if there is one. The data of what it
   * names comes first in each layer that is built of a tar. Not with `mkfs`, which has an order of its own.
   */
  order?: string | undefined;
  /**
   * Keep each tar as it is, as a device of a small EROFS image of its metadata: clients of tars and of EROFS share the data. A compressed tar
   * becomes one in frames, with a lone index. Profile "erofs-image-spec" only, the built-in builder only.
   */
  deviceTar?: boolean | undefined;
  /** Write over an index although it names manifests that the run neither writes nor carries over. */
  replace?: boolean | undefined;
  /** Folder in which converted layers are kept, and found by later runs; default: none. */
  cache?: string | undefined;
  /**
   * Compare the image with its source before it is named: every entry, every byte, and the config. MISMATCH when anything was lost.
   */
  check?: boolean | undefined;
  /** Files that are read besides the image, such as a list of jobs: an archive that is written must not take their place. */
  inputs?: readonly string[] | undefined;
}
